"""Boxes become the pixels that the published readers take."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from retrieval_bench.data.cropping import box_to_pixels, crop
from retrieval_bench.settings.errors import InputError

IMAGE = np.random.default_rng(0).integers(1, 256, (60, 80, 3), dtype=np.uint8)
coordinate = st.floats(-20, 120, allow_nan=False)


@given(coordinate, coordinate, coordinate, coordinate)
def test_round_is_the_crop_of_pillow(x0, y0, x1, y1):
    box = (x0, y0, x1, y1)
    a, b, c, d = (round(value) for value in box)
    if c <= a or d <= b or a >= 80 or b >= 60 or c <= 0 or d <= 0:
        with pytest.raises(InputError, match="the box"):
            box_to_pixels(box, (80, 60), "round")
    else:
        cut = crop(IMAGE, box_to_pixels(box, (80, 60), "round"))
        np.testing.assert_array_equal(cut, np.asarray(Image.fromarray(IMAGE).crop(box)))


@given(st.floats(0, 79), st.floats(0, 59), coordinate, coordinate)
def test_truncate_is_the_slice_of_opencv_code(x0, y0, x1, y1):
    expected = IMAGE[int(y0) : max(int(y1), 0), int(x0) : max(int(x1), 0)]
    if expected.size:
        np.testing.assert_array_equal(crop(IMAGE, box_to_pixels((x0, y0, x1, y1), (80, 60), "truncate")), expected)
    else:
        with pytest.raises(InputError, match="the box"):
            box_to_pixels((x0, y0, x1, y1), (80, 60), "truncate")


def test_halves_go_to_the_even_pixel_or_towards_zero():
    box = (0.5, 1.5, 10.5, 11.5)
    assert box_to_pixels(box, (80, 60), "round") == (0, 2, 10, 12)
    assert box_to_pixels(box, (80, 60), "truncate") == (0, 1, 10, 11)


def test_outside_is_black_when_rounding_and_cut_off_when_truncating():
    box = (-2.0, 50.0, 10.0, 63.0)
    padded = crop(IMAGE, box_to_pixels(box, (80, 60), "round"))
    assert padded.shape == (13, 12, 3)
    assert not padded[10:].any()
    assert not padded[:, :2].any()
    np.testing.assert_array_equal(padded[:10, 2:], IMAGE[50:, :10])
    np.testing.assert_array_equal(crop(IMAGE, box_to_pixels(box, (80, 60), "truncate")), IMAGE[50:, :10])


@pytest.mark.parametrize(
    "box",
    [
        (10.0, 10.0, 10.0, 20.0),
        (10.0, 20.0, 30.0, 10.0),
        (10.1, 10.0, 10.3, 20.0),
        (80.0, 0.0, 90.0, 10.0),
        (-9.0, 0.0, 0.0, 10.0),
        (0.0, float("nan"), 5.0, 5.0),
        (0.0, 0.0, float("inf"), 5.0),
        (0.0, 0.0, 1e6, 1e6),
    ],
)
def test_a_box_without_pixels_names_image_and_box(box):
    with pytest.raises(InputError, match=r"a/b\.jpg: the box \("):
        box_to_pixels(box, (80, 60), "round", "a/b.jpg")
