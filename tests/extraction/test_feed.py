import pytest

from retrieval_bench.data.loading import load_for_protocol
from retrieval_bench.extraction.feed import Feed
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol

PROTOCOL = Protocol(image_size=40)


def batches(images, rows, on_error="skip", batch_size=3):
    feed = Feed(images, rows, PROTOCOL, batch_size=batch_size, workers=0, on_error=on_error)
    return list(feed), feed


def test_batches_hold_whole_list_rows_of_one_shape(images):
    found, _ = batches(images, [1, 2, 3, 5, 6, 9, 12, 15])
    assert sorted(row for batch in found for row in batch["indices"].tolist()) == [1, 2, 3, 5, 6, 9, 12, 15]
    for batch in found:
        assert len(batch["indices"]) == len(batch["images"])
        for row, image in zip(batch["indices"].tolist(), batch["images"], strict=True):
            expected = load_for_protocol(images.paths[row], images.boxes[row], PROTOCOL)
            assert (image.permute(1, 2, 0).numpy() == expected).all()


def test_leaving_out_whole_batches_keeps_the_others(images):
    everything = [batch["indices"].tolist() for batch in batches(images, range(20))[0]]
    for seen in range(1, len(everything)):
        done = {row for batch in everything[:seen] for row in batch}
        rest = [row for row in range(20) if row not in done]
        assert [batch["indices"].tolist() for batch in batches(images, rest)[0]] == everything[seen:]


def test_images_without_pixels_come_with_the_next_batch_or_at_the_end(images, truncate):
    truncate(images.paths[0])
    truncate(images.paths[19])
    images.paths[7].unlink()
    found, feed = batches(images, range(20), batch_size=1)
    delivered = [row for batch in found for row, _ in batch["skipped"]]
    assert delivered == [7, 0]
    assert [row for row, _ in feed.undelivered] == [19]
    assert "no such file" in found[0]["skipped"][0][1]
    assert sorted(row for batch in found for row in batch["indices"].tolist()) == [*range(1, 7), *range(8, 19)]


def test_error_names_all_and_nothing_follows_the_first(images, truncate):
    truncate(images.paths[9])
    truncate(images.paths[16])
    feed = Feed(images, range(20), PROTOCOL, batch_size=1, workers=0, on_error="error")
    seen = []
    with pytest.raises(InputError, match=r"2 images.*image9\.png.*image16\.png"):
        seen.extend(int(batch["indices"]) for batch in feed)
    assert seen == list(range(9))


def test_a_feed_is_for_one_pass(images):
    _, feed = batches(images, [0])
    with pytest.raises(RuntimeError, match="once"):
        list(feed)
