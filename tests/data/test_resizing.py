"""Size limits are those of the published loaders, kernel for kernel."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from retrieval_bench.data.resizing import resize, resized_size, size_limit
from retrieval_bench.settings.protocol import Protocol

side = st.integers(1, 3000)
THUMBNAIL = Protocol(resize="thumbnail-lanczos")
BILINEAR = Protocol(resize="bilinear-antialias")


@settings(max_examples=300)
@given(side, side, st.floats(1, 1500))
def test_thumbnail_size_is_that_of_pillow(width, height, limit):
    class SizeOnly(Image.Image):
        def __init__(self):
            super().__init__()
            self._size = (width, height)
            self.asked = (width, height)

        def resize(self, size, *args, **kwargs):
            self.asked = size
            raise StopIteration

    probe = SizeOnly()
    with contextlib.suppress(StopIteration):
        probe.thumbnail((limit, limit))
    assert resized_size((width, height), limit, THUMBNAIL) == probe.asked


@given(side, side, st.floats(1, 1500), st.sampled_from([THUMBNAIL, BILINEAR]))
def test_nothing_is_enlarged_and_no_side_vanishes(width, height, limit, protocol):
    new = resized_size((width, height), limit, protocol)
    assert 1 <= new[0] <= width
    assert 1 <= new[1] <= height
    assert max(new) <= max(limit, 1) + 0.5
    if max(width, height) <= int(limit):
        assert new == (width, height)


@pytest.mark.parametrize("size", [(157, 93), (93, 157), (400, 3), (3, 400), (64, 64)])
@pytest.mark.parametrize("limit", [64, 63.7, 20])
def test_thumbnail_pixels_are_those_of_cirtorch(size, limit):
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    expected = Image.fromarray(image)
    expected.thumbnail((limit, limit), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(resize(image, limit, THUMBNAIL), np.asarray(expected))


def test_bilinear_pixels_are_those_of_delf():
    image = np.random.default_rng(0).integers(0, 256, (93, 157, 3), dtype=np.uint8)
    factor = 50 / 157
    expected = Image.fromarray(image).resize((50, round(93 * factor)), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize(image, 50.0, BILINEAR), np.asarray(expected))


def test_an_elongated_image_keeps_one_pixel():
    assert resized_size((4000, 1), 1024.0, THUMBNAIL) == (1024, 1)
    assert resized_size((4000, 1), 1024.0, BILINEAR) == (1024, 1)
    assert resized_size((8, 4000), 1024.0, THUMBNAIL) == (2, 1024)


def test_object_scale_limits_a_crop_as_much_as_the_whole_image():
    protocol = Protocol(image_size=512)
    assert size_limit(protocol, (1024, 768), None) == 512
    assert size_limit(protocol, (1024, 768), (300, 200)) == 150
    assert size_limit(protocol, (4000, 768), (1, 1)) == 1
    full = Protocol(image_size=512, query_size="full")
    assert size_limit(full, (1024, 768), (300, 200)) == 512


@pytest.mark.parametrize("protocol", [Protocol(image_size=None), Protocol(resize="none")])
def test_without_a_limit_the_image_stays(protocol):
    assert size_limit(protocol, (5000, 3000), None) is None
    image = np.zeros((3, 5, 3), np.uint8)
    assert resize(image, None, protocol) is image
