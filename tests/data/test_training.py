"""Labelled views and their batches."""

import numpy as np
import pytest
import torch

from retrieval_bench.data import training
from retrieval_bench.data.reading import ImageError, read_image
from retrieval_bench.data.samplers import EpochSampler, ShardSampler
from retrieval_bench.data.training import DecodedImages, LabelledLoader, LabelledViews
from retrieval_bench.data.transforms import train_view, validation_view, view_generator
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.values.dataset import LabelledImages

RECIPE = Recipe(image_size=24)


@pytest.fixture
def labelled(tmp_path, save_image):
    paths = [save_image(tmp_path / f"{i}.png", (40 + i % 3, 30), seed=i) for i in range(10)]
    return LabelledImages(paths, [i % 3 for i in range(10)], ["a", "b", "c"])


def loader(views, workers=0, batch_size=4, **options):
    sampler = EpochSampler(len(views), seed=5) if views.view == "train" else ShardSampler(len(views))
    return LabelledLoader(views, sampler=sampler, batch_size=batch_size, workers=workers, **options)


def test_items_are_the_views_of_the_rows_asked_for(labelled):
    views = LabelledViews(labelled, [7, 2], RECIPE, "train", seed=9)
    item = views[(3, 0)]
    image = torch.from_numpy(read_image(labelled.paths[7])).permute(2, 0, 1)
    assert (item["index"], item["label"], len(views)) == (7, 1, 2)
    assert torch.equal(item["image"], train_view(image, RECIPE, view_generator(9, 3, 7)))
    centre = LabelledViews(labelled, [7, 2], RECIPE, "validation", seed=9)[(3, 0)]
    assert torch.equal(centre["image"], validation_view(image, 24))


def test_batches_do_not_depend_on_workers_or_cache(labelled):
    decoded = DecodedImages(labelled.paths, "ignore")
    views = LabelledViews(labelled, range(10), RECIPE, "train", seed=0)
    cached = LabelledViews(labelled, range(10), RECIPE, "train", seed=0, decoded=decoded)
    runs = []
    for made in (loader(views), loader(views, workers=2), loader(cached), loader(cached, workers=1)):
        batches = []
        for epoch in range(2):
            made.sampler.set_epoch(epoch)
            batches += list(made)
        runs.append(batches)
    for batches in runs[1:]:
        for ours, theirs in zip(runs[0], batches, strict=True):
            assert all(torch.equal(ours[key], theirs[key]) for key in ("images", "labels", "indices"))
    first, second = runs[0][:3], runs[0][3:]
    assert [len(batch["labels"]) for batch in first] == [4, 4, 2]
    assert first[0]["images"].dtype == torch.uint8
    assert first[0]["images"].shape == (4, 3, 24, 24)
    assert torch.cat([b["indices"] for b in first]).tolist() != torch.cat([b["indices"] for b in second]).tolist()
    for batch in first:
        assert batch["labels"].tolist() == [labelled.labels[i] for i in batch["indices"].tolist()]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("cache", [False, True])
def test_a_broken_image_stops_training_or_is_left_out(labelled, workers, cache):
    labelled.paths[6].write_bytes(b"no image")
    decoded = DecodedImages(labelled.paths, "ignore") if cache else None
    views = LabelledViews(labelled, range(10), RECIPE, "validation", seed=0, decoded=decoded)
    with pytest.raises(InputError, match=r"6\.png.*not an image.*on_error=skip"):
        list(loader(views, workers))
    skipping = loader(views, workers, on_error="skip")
    for _ in range(2):
        rows = [row for batch in skipping for row in batch["indices"].tolist()]
        assert rows == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert len(skipping.skipped) == 1
    assert str(labelled.paths[6]) in skipping.skipped[0]
    with pytest.raises(InputError, match=r"6\.png"):
        list(loader(views, workers, batch_size=1, on_error="skip"))


def test_the_cache_holds_what_files_hold(labelled):
    content = labelled.paths[1].read_bytes()
    labelled.paths[1].write_bytes(content[: len(content) // 2])
    decoded = DecodedImages([*labelled.paths, labelled.paths[0]], "ignore")
    np.testing.assert_array_equal(decoded[labelled.paths[3]], read_image(labelled.paths[3]))
    with pytest.raises(ImageError, match=r"1\.png"):
        decoded[labelled.paths[1]]


def test_a_cache_too_large_is_refused_from_the_headers(labelled, monkeypatch):
    monkeypatch.setattr(training, "CACHE_LIMIT", 30_000)
    with pytest.raises(InputError, match="cache=none"):
        DecodedImages(labelled.paths, "ignore")
