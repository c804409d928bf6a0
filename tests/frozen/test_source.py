"""Stores are made once, shared by what stands above one backbone, resumed, and told apart by what made them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import retrieval_bench as rb
from retrieval_bench.frozen import room
from retrieval_bench.frozen.key import Asked
from retrieval_bench.frozen.source import FeatureSource
from retrieval_bench.frozen.writing import ShardWriter
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.dataset import ImageList, LabelledImages

SIZES = [(40, 32), (32, 40)]


@pytest.fixture
def images(tmp_path) -> ImageList:
    rng = np.random.default_rng(0)
    paths = []
    for row in range(9):
        width, height = SIZES[row % 2]
        paths.append(tmp_path / f"{row}.png")
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(paths[-1])
    return ImageList([path.stem for path in paths], paths, [(2.0, 2.0, 30.0, 30.0), *[None] * 8])


def build(seed=0, method="gem", **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return rb.create_model(method, **{"backbone": "test_resnet", "dim": 8, **options})


def source(model, folder, **options):
    return FeatureSource(model, folder / "features", **{"accelerator": "cpu", "batch_size": 2, **options})


def open_images(model, folder, images, scales=(1.0,), **options):
    made = source(model, folder, **options)
    (store,) = made.open(made.images(images, scales, "test"))
    return store, made


def test_a_store_holds_what_the_backbone_gives(tmp_path, images):
    model = build(method="delg")
    store, _ = open_images(model, tmp_path, images, (0.7, 1.0))
    assert len(store) == 9
    assert store.batches[0].rows == [0]
    assert sorted(row for batch in store.batches for row in batch.rows) == list(range(9))
    for number, batch in enumerate(store.batches):
        pixels = torch.stack(
            [
                torch.from_numpy(np.array(Image.open(images.paths[row]).crop(images.boxes[row]))).permute(2, 0, 1)
                for row in batch.rows
            ]
        )
        assert batch.fed == pixels.shape[-2:]
        with torch.no_grad():
            expected = list(model.pyramid(pixels, (0.7, 1.0)))
        for (scale, features), (wanted_scale, wanted) in zip(store.pyramid(number), expected, strict=True):
            assert scale == wanted_scale
            assert len(features.maps) == 2
            for one, other in zip(features.maps, wanted.maps, strict=True):
                torch.testing.assert_close(one, other)


def test_what_a_pooling_writes_does_not_come_back(tmp_path, images):
    store, _ = open_images(build(), tmp_path, images)
    first = store.pyramid(1)[0][1].maps[-1]
    kept = first.clone()
    first.zero_()
    assert torch.equal(store.pyramid(1)[0][1].maps[-1], kept)


def test_pooling_loss_and_dimension_share_a_store(tmp_path, images):
    first, made = open_images(build(), tmp_path, images)
    assert made.made == {first.key}
    for other in (
        build(pooling="rmac", loss="cosface", dim=4, num_classes=3),
        build(pooling={"name": "sgem", "p": 2.0}),
    ):
        again, reused = open_images(other, tmp_path, images)
        assert (again.key, reused.made) == (first.key, set())


def test_weights_decide_and_not_where_they_come_from(tmp_path, images, backbone_weights):
    first, _ = open_images(build(0), tmp_path, images)
    assert open_images(build(1), tmp_path, images)[0].key != first.key
    part = {"name": "test_resnet", "weights": str(backbone_weights)}
    copied = tmp_path / "copy.safetensors"
    copied.write_bytes(Path(backbone_weights).read_bytes())
    one, _ = open_images(build(0, backbone=part), tmp_path, images)
    other, reused = open_images(build(1, backbone={**part, "weights": str(copied)}), tmp_path, images)
    assert (one.key, reused.made) == (other.key, set())


def test_reading_decides(tmp_path, images):
    model = build()
    keys = {open_images(model, tmp_path, images)[0].key, open_images(model, tmp_path, images, (1.0, 0.5))[0].key}
    keys.add(open_images(model, tmp_path, images, dtype="float16")[0].key)
    model.protocol = model.protocol.model_copy(update={"image_size": 24})
    keys.add(open_images(model, tmp_path, images)[0].key)
    views = source(model, tmp_path)
    labelled = LabelledImages(list(images.paths), [0] * 9, ["one"])
    keys |= {store.key for store in views.open(views.views(labelled, 24, "a"), views.views(labelled, 32, "b"))}
    assert len(keys) == 6


def test_pixel_values_decide_and_not_who_says_so(tmp_path, images, backbone_weights):
    """test_resnet's weights expect halves, the method has ImageNet's values."""
    part = {"name": "test_resnet", "weights": str(backbone_weights)}
    halves = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "channel_order": "rgb"}
    first, _ = open_images(build(backbone=part), tmp_path, images)
    same, reused = open_images(build(backbone={**part, "normalisation": halves}), tmp_path, images)
    assert (same.key, reused.made) == (first.key, set())
    others = ("method", {**halves, "channel_order": "bgr"}, {**halves, "std": [0.5, 0.5, 0.4]})
    keys = {open_images(build(backbone={**part, "normalisation": one}), tmp_path, images)[0].key for one in others}
    assert len(keys | {first.key}) == 4


def test_pixel_values_decide_on_views_too(tmp_path, images, backbone_weights):
    part = {"name": "test_resnet", "weights": str(backbone_weights)}
    labelled = LabelledImages(list(images.paths), [0] * 9, ["one"])
    keys = set()
    for given in (part, {**part, "normalisation": "method"}):
        views = source(build(backbone=given), tmp_path)
        keys |= {store.key for store in views.open(views.views(labelled, 24, "views"))}
    assert len(keys) == 2


def test_a_wider_store_serves_who_reads_less(tmp_path, images):
    narrow = build()
    wide = build(method="dolg")
    wide.protocol = narrow.protocol
    kept, _ = open_images(wide, tmp_path, images)
    found, reused = open_images(narrow, tmp_path, images)
    assert (found.key, reused.made) == (kept.key, set())
    assert [len(store.pyramid(0)[0][1].maps) for store in (found, kept)] == [1, 2]
    assert torch.equal(found.pyramid(0)[0][1].maps[-1], kept.pyramid(0)[0][1].maps[-1])
    assert Asked(3, True) in Asked(2, False).or_more()
    assert Asked(3, False) not in Asked(2, True).or_more()


def test_tokens_are_stored_where_they_are_read(tmp_path, images):
    model = build(backbone="test_vit", pooling="cls")
    store, _ = open_images(model, tmp_path, images)
    (_, found), pixels = store.pyramid(0)[0], torch.from_numpy(np.array(Image.open(images.paths[0])))
    with torch.no_grad():
        (_, wanted) = next(model.pyramid(pixels[2:30, 2:30].permute(2, 0, 1)[None], (1.0,)))
    torch.testing.assert_close(found.tokens, wanted.tokens)
    other, reused = open_images(build(backbone="test_vit"), tmp_path, images)
    assert (other.key, reused.made) == (store.key, set())
    assert other.pyramid(0)[0][1].tokens is None


def test_an_interrupted_store_goes_on(tmp_path, images, monkeypatch):
    whole, _ = open_images(build(), tmp_path / "whole", images, shard_bytes=1)
    seen = []
    take = ShardWriter.on_predict_batch_end

    def stop(self, *arguments):
        take(self, *arguments)
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "on_predict_batch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            open_images(build(), tmp_path, images, shard_bytes=1)
    (unfinished,) = (tmp_path / "features").iterdir()
    assert unfinished.name.endswith(".partial")
    seen.clear()
    monkeypatch.setattr(ShardWriter, "on_predict_batch_end", lambda *a: (seen.append(1), take(*a))[1])
    store, _ = open_images(build(), tmp_path, images, shard_bytes=1)
    assert len(seen) == len(whole.batches) - 3
    assert [batch.rows for batch in store.batches] == [batch.rows for batch in whole.batches]
    for number in range(len(whole.batches)):
        assert torch.equal(store.pyramid(number)[0][1].maps[0], whole.pyramid(number)[0][1].maps[0])


def test_a_damaged_store_is_made_again(tmp_path, images):
    store, _ = open_images(build(), tmp_path, images)
    shard = next(store.folder.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-8])
    again, made = open_images(build(), tmp_path, images)
    assert made.made == {store.key}
    assert len(again) == 9


def test_broken_images_are_named_or_left_out(tmp_path, images):
    images.paths[8].write_bytes(b"no image")
    with pytest.raises(InputError, match=r"8\.png"):
        open_images(build(), tmp_path, images)
    store, _ = open_images(build(), tmp_path, images, on_error="skip")
    assert [row for row, _ in store.skipped] == [8]
    with pytest.raises(InputError, match="give no pixels"):
        open_images(build(), tmp_path, images)
    labelled = LabelledImages(list(images.paths), [0] * 9, ["one"])
    views = source(build(), tmp_path)
    with pytest.raises(InputError, match=r"8\.png"):
        views.open(views.views(labelled, 16, "views"))
    skipping = source(build(), tmp_path, on_error="skip")
    (store,) = skipping.open(skipping.views(labelled, 16, "views"))
    assert [row for row, _ in store.skipped] == [8]


def test_the_estimate_is_near_and_the_disk_is_asked(tmp_path, images, monkeypatch):
    model = build(method="delg")
    store, _ = open_images(model, tmp_path, images, (0.5, 1.0))
    sizes = [(28, 28), *(SIZES[row % 2] for row in range(1, 9))]
    values = room.estimated_bytes(model, sizes, (0.5, 1.0), "float32")
    assert 0.8 * values < store.bytes - 1500 * len(store.batches) < 1.2 * values
    assert room.estimated_bytes(model, sizes, (0.5, 1.0), "float16") == values / 2
    free = type("usage", (), {"free": 1000})
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: free)
    with pytest.raises(InputError, match="1000 bytes are free"):
        open_images(model, tmp_path, images, (0.25, 1.0))
    open_images(model, tmp_path, images, (0.5, 1.0))


def test_the_global_generator_is_left_alone(tmp_path, images):
    model = build()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    open_images(model, tmp_path, images)
    assert torch.equal(torch.rand(4), expected)


def test_features_that_are_not_finite_are_refused(tmp_path, images):
    model = build()
    next(model.backbone.parameters()).data.fill_(float("inf"))
    with pytest.raises(InputError, match="not finite"):
        open_images(model, tmp_path, images)
