"""Reading, cropping and shrinking together equal the published loaders; sizes are known from headers."""

import cv2
import numpy as np
import pytest
from PIL import Image

from retrieval_bench.data.loading import load_for_protocol, loaded_size
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol

BOX = (20.5, 11.5, 190.5, 130.2)


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    small.resize((300, 200), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=92, exif=exif)
    return tmp_path / "a.jpg"


def test_cirtorch_protocol(photo):
    protocol = Protocol(image_size=128)
    for box in (None, BOX):
        with Image.open(photo) as file:
            expected = file.convert("RGB")
        full = max(expected.size)
        if box is not None:
            expected = expected.crop(box)
        limit = 128 if box is None else 128 * max(expected.size) / full
        expected.thumbnail((limit, limit), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(load_for_protocol(photo, box, protocol), np.asarray(expected))


def test_opencv_protocol(photo):
    protocol = Protocol(exif="apply", crop_rounding="truncate", image_size=None, resize="none")
    image = cv2.imread(str(photo))[:, :, ::-1]
    np.testing.assert_array_equal(load_for_protocol(photo, None, protocol), image)
    np.testing.assert_array_equal(load_for_protocol(photo, BOX, protocol), image[11:130, 20:190])


def test_delf_protocol(photo):
    protocol = Protocol(image_size=128, resize="bilinear-antialias")
    with Image.open(photo) as file:
        cut = file.convert("RGB").crop(tuple(round(value) for value in BOX))
    factor = 128 * (max(cut.size) / 300) / max(cut.size)
    expected = cut.resize((round(cut.width * factor), round(cut.height * factor)), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(load_for_protocol(photo, BOX, protocol), np.asarray(expected))


@pytest.mark.parametrize("exif", ["ignore", "apply"])
@pytest.mark.parametrize("rounding", ["round", "truncate"])
@pytest.mark.parametrize("kernel", ["thumbnail-lanczos", "bilinear-antialias", "none"])
@pytest.mark.parametrize("query_size", ["object-scale", "full"])
def test_the_size_is_known_beforehand(photo, exif, rounding, kernel, query_size):
    protocol = Protocol(exif=exif, crop_rounding=rounding, image_size=100, resize=kernel, query_size=query_size)
    for box in (None, BOX, (0.0, 0.0, 150.0, 2.0), (-3.0, 5.0, 250.0, 260.0)):
        image = load_for_protocol(photo, box, protocol)
        assert image.dtype == np.uint8
        assert loaded_size(photo, box, protocol) == image.shape[1::-1]


def test_a_wrong_box_names_the_file(photo):
    for load in (load_for_protocol, loaded_size):
        with pytest.raises(InputError, match=r"a\.jpg: the box \(5, 5, 5, 9\)"):
            load(photo, (5.0, 5.0, 5.0, 9.0), Protocol())
