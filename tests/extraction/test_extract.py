from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from retrieval_bench.data.loading import load_for_protocol
from retrieval_bench.extraction.extract import extract, extract_to_store
from retrieval_bench.extraction.store import DescriptorStore
from retrieval_bench.extraction.writing import PartWriter
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.dataset import ImageList

QUIET = {"progress": False, "batch_size": 4, "accelerator": "cpu"}


def one_by_one(model, images, scales=None):
    rows = []
    for path, box in zip(images.paths, images.boxes, strict=True):
        pixels = load_for_protocol(path, box, model.protocol)
        rows.append(model.describe(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None], scales))
    return torch.cat(rows)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "costs.json"
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_are_in_list_order_and_equal_single_images(images, make_model, tmp_path, workers):
    model = make_model()
    store = extract_to_store(model, images, tmp_path / "stores", dtype="float32", workers=workers, **QUIET)
    torch.testing.assert_close(store.tensor(), one_by_one(model, images), atol=1e-6, rtol=0)
    assert store.names == list(images.names)
    assert model.fed == 20
    assert len({shape[2:] for shape in model.shapes}) == 5  # three shapes shrunk, two sizes of crops
    assert max(shape[0] for shape in model.shapes) == 4
    assert store.report.n_images == store.report.forward_images == 20
    assert store.report.images_per_second > 0


def test_scales_replace_those_of_the_protocol(images, make_model, tmp_path):
    model = make_model()
    store = extract_to_store(model, images, tmp_path, dtype="float32", scales=(1.0, 0.5), **QUIET)
    torch.testing.assert_close(store.tensor(), one_by_one(model, images, (1.0, 0.5)), atol=1e-6, rtol=0)
    assert store.scales == (1.0, 0.5)
    assert not torch.allclose(store.tensor(), one_by_one(model, images), atol=1e-4)
    assert model.extraction_scales is None


def test_second_run_does_no_forward_pass(images, make_model, tmp_path):
    model = make_model()
    first = extract_to_store(model, images, tmp_path / "stores", **QUIET)
    again = extract_to_store(model, images, tmp_path / "stores", **QUIET)
    assert model.fed == 20
    assert again.report.forward_images == 0
    assert again.report.seconds == first.report.seconds > 0
    assert torch.equal(first.tensor(), again.tensor())
    extract_to_store(make_model(seed=1), images, tmp_path / "stores", **QUIET)
    assert len(list((tmp_path / "stores").iterdir())) == 2


@pytest.mark.parametrize(("local", "broken"), [(False, ()), (True, ()), (False, (0, 1, 12)), (True, (2, 3, 18))])
def test_killed_run_goes_on_to_the_same_bytes(images, make_model, tmp_path, monkeypatch, truncate, local, broken):
    for row in broken:
        truncate(images.paths[row])
    options = {"part_images": 6, "local": local, "on_error": "skip"} | QUIET
    whole = extract_to_store(make_model(), images, tmp_path / "whole", **options)
    real, calls = PartWriter.write, []

    def killed(self):
        if len(calls) == 2:
            raise RuntimeError("killed")
        calls.append(len(self._rows))
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "write", killed)
        with pytest.raises(RuntimeError, match="killed"):
            extract_to_store(make_model(), images, tmp_path / "killed", **options)
    (unfinished,) = (tmp_path / "killed").iterdir()
    assert unfinished.name == f"{whole.key}.partial"
    with pytest.raises(InputError, match="no finished descriptor store"):
        DescriptorStore(unfinished)
    model = make_model()
    resumed = extract_to_store(model, images, tmp_path / "killed", **options)
    assert model.fed == 20 - len(broken) - sum(calls) == resumed.report.forward_images
    assert 0 < model.fed < 20
    assert [image.row for image in resumed.skipped] == list(broken)
    assert files_of(resumed.folder) == files_of(whole.folder)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [whole.key]


def test_damaged_part_is_made_again(images, make_model, tmp_path, monkeypatch):
    whole = extract_to_store(make_model(), images, tmp_path / "whole", part_images=4, **QUIET)
    with monkeypatch.context() as patch:
        patch.setattr("retrieval_bench.extraction.extract.finish_store", _raise)
        with pytest.raises(RuntimeError, match="no room"):
            extract_to_store(make_model(), images, tmp_path / "cut", part_images=4, **QUIET)
    part = tmp_path / "cut" / f"{whole.key}.partial" / "parts" / "00002.safetensors"
    part.write_bytes(part.read_bytes()[:-10])
    model = make_model()
    store = extract_to_store(model, images, tmp_path / "cut", part_images=4, **QUIET)
    assert 0 < model.fed < 20
    assert files_of(store.folder) == files_of(whole.folder)


def _raise(*_, **__):
    raise RuntimeError("no room")


def test_run_killed_before_the_last_rename_needs_no_forward_pass(images, make_model, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("retrieval_bench.extraction.extract.publish", _raise)
        with pytest.raises(RuntimeError, match="no room"):
            extract_to_store(make_model(), images, tmp_path, **QUIET)
    model = make_model()
    assert len(extract_to_store(model, images, tmp_path, **QUIET)) == 20
    assert model.fed == 0


def test_damaged_store_is_refused_and_made_again(images, make_model, tmp_path):
    store = extract_to_store(make_model(), images, tmp_path / "stores", **QUIET)
    before = files_of(store.folder)
    shard = store.folder / "descriptors-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(InputError, match="bytes instead of"):
        DescriptorStore(store.folder)
    model = make_model()
    again = extract_to_store(model, images, tmp_path / "stores", **QUIET)
    assert model.fed == 20
    assert files_of(again.folder) == before


def test_broken_images_are_all_named(images, make_model, tmp_path, truncate):
    truncate(images.paths[3])
    images.paths[7].write_bytes(b"not an image")
    images.paths[11].unlink()
    with pytest.raises(InputError) as error:
        extract_to_store(make_model(), images, tmp_path / "stores", **QUIET)
    for row in (3, 7, 11):
        assert f"image{row}.png" in str(error.value)
    assert "image4.png" not in str(error.value)
    assert not list((tmp_path / "stores").iterdir())


def test_image_broken_behind_its_header_stops_the_network_but_not_the_search(images, make_model, tmp_path, truncate):
    for row in (0, 19):
        truncate(images.paths[row])
    model = make_model()
    with pytest.raises(InputError, match=r"image0\.png.*image19\.png"):
        extract_to_store(model, images, tmp_path / "stores", **QUIET)
    assert model.fed == 0


@pytest.mark.parametrize("local", [False, True])
def test_skipped_images_are_nan_rows_and_listed(images, make_model, tmp_path, truncate, local):
    truncate(images.paths[3])
    images.paths[19].write_bytes(b"not an image")
    model = make_model()
    options = {"on_error": "skip", "dtype": "float32", "local": local, "part_images": 5} | QUIET
    store = extract_to_store(model, images, tmp_path / "stores", **options)
    assert [(image.row, image.name) for image in store.skipped] == [(3, "image3"), (19, "image19")]
    assert all(image.reason for image in store.skipped)
    whole = [row for row in range(20) if row not in (3, 19)]
    assert store.valid_rows.tolist() == whole
    assert torch.isnan(store.tensor([3, 19])).all()
    rest = ImageList(
        [images.names[r] for r in whole], [images.paths[r] for r in whole], [images.boxes[r] for r in whole]
    )
    torch.testing.assert_close(store.tensor(whole), one_by_one(model, rest), atol=1e-6, rtol=0)
    if local:
        assert len(store.local_features[3]) == 0
        assert len(store.local_features[4]) > 0
    extract_to_store(model, images, tmp_path / "stores", **options)
    assert model.fed == 18
    with pytest.raises(InputError, match=r"image3\.png.*image19\.png"):
        extract_to_store(model, images, tmp_path / "stores", **(options | {"on_error": "error"}))


def test_last_batch_of_broken_images_is_skipped(images, make_model, tmp_path, truncate):
    truncate(images.paths[19])
    single = ImageList(images.names[17:], images.paths[17:])
    store = extract_to_store(make_model(), single, tmp_path, on_error="skip", **(QUIET | {"batch_size": 1}))
    assert [image.row for image in store.skipped] == [2]


def test_nothing_but_broken_images_is_an_error(make_model, tmp_path):
    nothing = ImageList(["a"], [tmp_path / "a.jpg"])
    with pytest.raises(InputError, match=r"none of the 1 images.*a\.jpg"):
        extract_to_store(make_model(), nothing, tmp_path / "stores", on_error="skip", **QUIET)


def test_not_finite_descriptors_name_their_images(images, make_model, tmp_path):
    model = make_model()
    model.layer.bias.data[0] = torch.nan
    with pytest.raises(InputError, match=r"not finite: image0, image3"):
        extract_to_store(model, images, tmp_path, **QUIET)
    with pytest.raises(InputError, match=r"not finite: .*image0\.png"):
        extract(model, images.paths)


def test_local_features_are_in_pixels_of_the_original(images, make_model, tmp_path):
    store = extract_to_store(make_model(), images, tmp_path / "stores", local=True, **QUIET)
    local = store.local_features
    assert len(local) == 20
    for row in range(20):
        original = (24.0, 25.0) if row % 5 == 4 else [(60.0, 40.0), (40.0, 60.0), (30.0, 30.0)][row % 3]
        assert local[row].keypoints[0].tolist() == pytest.approx(original)
        assert torch.allclose(local[row].descriptors[0], store[row], atol=1e-3)
    assert store.report.bytes_local > 20 * 2 * (4 * 4 + 16 * 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float61"}, "did you mean 'float16'"),
        ({"on_error": "ignore"}, "on_error 'ignore'"),
        ({"scales": (1.0, -1.0)}, "positive"),
        ({"precision": "8-bit"}, "precision '8-bit'"),
    ],
)
def test_wrong_options_are_named(images, make_model, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        extract_to_store(make_model(), images, tmp_path, **(QUIET | options))


def test_empty_list_and_missing_local_features(images, make_model, tmp_path):
    with pytest.raises(InputError, match="empty"):
        extract_to_store(make_model(), ImageList([], []), tmp_path, **QUIET)
    model = make_model()
    model.has_local_features = False
    with pytest.raises(InputError, match="no local features"):
        extract_to_store(model, images, tmp_path, local=True, **QUIET)


def test_extract_gives_rows_in_file_order(images, make_model):
    model = make_model()
    result = extract(model, images.paths, boxes=images.boxes, batch_size=4)
    assert result.dtype == torch.float32
    assert not result.is_inference()
    torch.testing.assert_close(result, one_by_one(model, images), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        extract(model, [str(path) for path in images.paths], images.boxes, (0.7,)),
        one_by_one(model, images, (0.7,)),
        atol=1e-6,
        rtol=0,
    )


@pytest.mark.parametrize("as_boxes", [list, np.array, torch.tensor])
def test_extract_takes_boxes_of_any_kind_and_a_file_twice(images, make_model, as_boxes):
    boxes = as_boxes([[0.0, 0.0, 20.0, 10.0], [5.0, 5.0, 25.0, 25.0]])
    result = extract(make_model(), [images.paths[0]] * 2, boxes=boxes)
    assert not torch.allclose(result[0], result[1], atol=1e-5)
    pixels = np.asarray(Image.open(images.paths[0]))[5:25, 5:25]
    model = make_model(protocol=Protocol(image_size=None))
    whole = model.describe(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    torch.testing.assert_close(extract(model, [images.paths[0]] * 2, boxes=boxes)[1:], whole, atol=1e-6, rtol=0)


def test_extract_refuses_what_does_not_fit(images, make_model, truncate):
    model = make_model()
    with pytest.raises(InputError, match="1 boxes for 2 files"):
        extract(model, images.paths[:2], boxes=[None])
    with pytest.raises(InputError, match="x0, y0, x1, y1"):
        extract(model, images.paths[:1], boxes=[[1.0, 2.0]])
    with pytest.raises(InputError, match="put it into a list"):
        extract(model, str(images.paths[0]))
    with pytest.raises(InputError, match="empty"):
        extract(model, [])
    truncate(images.paths[1])
    images.paths[2].unlink()
    with pytest.raises(InputError, match=r"image1\.png.*image2\.png"):
        extract(model, images.paths)


def test_store_made_by_another_process_meanwhile_is_opened(images, make_model, tmp_path, monkeypatch):
    model = make_model()
    made = extract_to_store(model, images, tmp_path / "other", **QUIET)

    @contextmanager
    def late(unfinished):
        unfinished.mkdir(parents=True)
        made.folder.rename(unfinished.parent / made.key)
        yield

    monkeypatch.setattr("retrieval_bench.extraction.extract.alone_in", late)
    store = extract_to_store(model, images, tmp_path / "stores", **QUIET)
    assert model.fed == 20
    assert [path.name for path in (tmp_path / "stores").iterdir()] == [store.key]
