"""Extraction batches: one shape each, every image once, broken ones named."""

import re
import warnings

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_bench.data.loading import load_for_protocol
from retrieval_bench.data.predict import ExtractionLoader, ProtocolImages, like_shape_batches
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.dataset import ImageList

PROTOCOL = Protocol(image_size=32)
SIZES = [(40, 30), (30, 40), (20, 20)]


@pytest.fixture
def images(tmp_path, save_image):
    paths = [save_image(tmp_path / f"{i}.png", SIZES[i % 3], seed=i) for i in range(14)]
    boxes = [(2.0, 2.0, 20.0, 18.0) if i == 5 else None for i in range(14)]
    return ImageList([path.name for path in paths], paths, boxes)


def spoil(images, row, kind):
    path = images.paths[row]
    content = path.read_bytes()
    path.write_bytes(b"no image" if kind == "header" else content[: len(content) * 2 // 3])


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(1, 7))
def test_batches_hold_every_index_once_by_size(kinds, batch_size):
    batches = like_shape_batches(range(len(kinds)), [(kind, 1) for kind in kinds], batch_size)
    assert sorted(index for batch in batches for index in batch) == list(range(len(kinds)))
    assert all(len({kinds[index] for index in batch}) == 1 and len(batch) <= batch_size for batch in batches)
    assert all(batch == sorted(batch) for batch in batches)
    assert [batch[0] for batch in batches] == sorted(batch[0] for batch in batches)
    full = sum(-(-kinds.count(kind) // batch_size) for kind in set(kinds))
    assert len(batches) == full


@pytest.mark.parametrize("workers", [0, 2])
def test_row_i_is_image_i(images, workers):
    loader = ExtractionLoader(images, PROTOCOL, batch_size=3, workers=workers, labels=range(100, 114))
    for _ in range(2):
        seen = []
        for batch in loader:
            assert batch["images"].dtype == torch.uint8
            assert batch["images"].is_contiguous()
            for index, image, label in zip(batch["indices"].tolist(), batch["images"], batch["labels"], strict=True):
                expected = load_for_protocol(images.paths[index], images.boxes[index], PROTOCOL)
                np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
                assert label == 100 + index
                seen.append(index)
        assert sorted(seen) == list(range(14))
    assert loader.skipped == []


@pytest.mark.parametrize("world", [1, 2, 3, 20])
def test_ranks_share_without_repeating(images, world):
    loaders = [ExtractionLoader(images, PROTOCOL, batch_size=2, rank=rank, world=world) for rank in range(world)]
    rows = [sorted(row for batch in loader for row in batch["indices"].tolist()) for loader in loaders]
    assert rows == [list(range(rank, 14, world)) for rank in range(world)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kinds", [("header", "header"), ("body", "body"), ("body", "header")])
def test_strict_mode_names_every_broken_file(images, workers, kinds):
    for row, kind in zip((13, 4), kinds, strict=True):
        spoil(images, row, kind)
    loader = ExtractionLoader(images, PROTOCOL, batch_size=3, workers=workers)
    with pytest.raises(InputError) as caught:
        list(loader)
    message = str(caught.value)
    assert message.index(str(images.paths[4])) < message.index(str(images.paths[13]))
    assert "2 images" in message
    assert "on_error=skip" in message
    assert "\n" not in message
    assert sum(str(path) in message for path in images.paths) == 2


def test_a_broken_header_stops_before_the_first_batch(images):
    spoil(images, 13, "header")
    with pytest.raises(InputError, match="1 image gives"):
        next(iter(ExtractionLoader(images, PROTOCOL, batch_size=3)))


@pytest.mark.parametrize("workers", [0, 2])
def test_skip_mode_reports_exactly_the_skipped(images, workers):
    spoil(images, 4, "body")
    spoil(images, 9, "header")
    loader = ExtractionLoader(images, PROTOCOL, batch_size=2, workers=workers, on_error="skip")
    for _ in range(2):
        batches = list(loader)
        rows = [row for batch in batches for row in batch["indices"].tolist()]
        assert sorted(rows) == [row for row in range(14) if row not in (4, 9)]
        assert [skipped.row for skipped in loader.skipped] == [4, 9]
        assert [skipped.name for skipped in loader.skipped] == ["4.png", "9.png"]
        assert "not an image" in loader.skipped[1].reason
        assert sorted(skipped.row for batch in batches for skipped in batch["skipped"]) == [4, 9]


def test_a_batch_of_broken_images_only_is_left_out(images):
    for row in (5, 12, 9):
        spoil(images, row, "body")
    loader = ExtractionLoader(images, PROTOCOL, batch_size=1, on_error="skip")
    assert all(len(batch["indices"]) == 1 for batch in loader)
    assert [skipped.row for skipped in loader.skipped] == [5, 9, 12]


def test_a_broken_image_never_returns_other_pixels(images):
    spoil(images, 4, "body")
    item = ProtocolImages(images, PROTOCOL)[4]
    assert item["image"] is None
    assert re.search("truncated", item["error"])
    tolerated = ProtocolImages(images, PROTOCOL, tolerate_truncated=True)[4]
    assert tolerated["image"].shape == (3, 32, 24)


def test_a_box_outside_its_image_is_a_broken_image(images):
    boxes = [None] * 13 + [(50.0, 50.0, 60.0, 60.0)]
    with pytest.raises(InputError, match=r"13\.png \(the box \(50, 50, 60, 60\)"):
        list(ExtractionLoader(ImageList(images.names, images.paths, boxes), PROTOCOL))


def test_wrong_settings_are_input_errors(images):
    with pytest.raises(InputError, match="batch size is 0"):
        ExtractionLoader(images, PROTOCOL, batch_size=0)
    with pytest.raises(InputError, match="rank 2"):
        ExtractionLoader(images, PROTOCOL, rank=2, world=2)


class Rows(pl.LightningModule):
    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        assert batch["images"].dtype == torch.uint8
        return batch["indices"]


@pytest.mark.parametrize("broken", [(), (0,), (13,), (11, 13)])
def test_lightning_runs_it_as_it_is(images, broken):
    for row in broken:
        spoil(images, row, "body")
    loader = ExtractionLoader(images, PROTOCOL, batch_size=1, on_error="skip")
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, barebones=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = torch.cat(trainer.predict(Rows(), loader)).tolist()
        assert sorted(rows) == [row for row in range(14) if row not in broken]
        if broken:
            with pytest.raises(InputError, match=re.escape(str(images.paths[broken[-1]]))):
                trainer.predict(Rows(), ExtractionLoader(images, PROTOCOL, batch_size=1))
