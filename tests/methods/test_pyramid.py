"""Sizes of the scales, and descriptors merged over them."""

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose

from retrieval_bench.methods.pyramid import image_pyramid, resize_to_scale
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol

SIZE, FACTOR = Protocol(scale_resize="size"), Protocol(scale_resize="scale-factor")


def image(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("height", "width", "scale", "by_size", "by_factor"),
    [
        (100, 80, 0.7071, (71, 57), (70, 56)),
        (100, 80, 1.4142, (141, 113), (141, 113)),
        (5, 7, 0.5, (2, 4), (2, 3)),
        (33, 47, 2**-0.5, (23, 33), (23, 33)),
        (10, 10, 0.25, (2, 2), (2, 2)),
        (8, 500, 2.0, (16, 1000), (16, 1000)),
        (9, 9, 1.0, (9, 9), (9, 9)),
    ],
)
def test_sides_are_rounded_half_to_even_or_floored(height, width, scale, by_size, by_factor):
    assert resize_to_scale(image(height, width), scale, SIZE).shape[-2:] == by_size
    assert resize_to_scale(image(height, width), scale, FACTOR).shape[-2:] == by_factor


@pytest.mark.parametrize("protocol", [SIZE, FACTOR], ids=["size", "scale-factor"])
def test_scale_one_changes_nothing(protocol):
    given = image(13, 17)
    assert torch.equal(resize_to_scale(given, 1.0, protocol), given)


def test_the_two_grids_differ_where_sides_do_not_divide():
    given = image(33, 47)
    assert_allclose(
        resize_to_scale(given, 0.7071, FACTOR), F.interpolate(given, scale_factor=0.7071, mode="bilinear"), rtol=1e-6
    )
    assert_allclose(resize_to_scale(given, 0.7071, SIZE), F.interpolate(given, size=(23, 33), mode="bilinear"))
    assert not torch.allclose(resize_to_scale(given, 0.7071, FACTOR), resize_to_scale(given, 0.7071, SIZE))


@pytest.mark.parametrize("protocol", [SIZE, FACTOR], ids=["size", "scale-factor"])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (2, 2), (3, 1)], ids=str)
@pytest.mark.parametrize("scale", [0.25, 0.01])
def test_no_side_falls_below_one_pixel(protocol, size, scale):
    assert min(resize_to_scale(image(*size), scale, protocol).shape[-2:]) >= 1


AREA, TRUNCATE = Protocol(scale_resize="cv2-area"), Protocol(scale_resize="truncate")
SPCA = Protocol(scale_resize="scale-factor", small_side=36, small_target=64)


@pytest.mark.parametrize(
    ("size", "scales", "kept", "sides"),
    [
        ((96, 144), (1.0, 0.7071), [1.0, 0.7071], [(96, 144), (67, 101)]),
        ((128, 48), (0.7071, 1.0, 1.4142), [1.0, 1.4142], [(128, 48), (181, 67)]),
        ((30, 90), (1.0,), [64 / 30], [(64, 192)]),
        ((30, 90), (0.5, 1.0), [64 / 30], [(64, 192)]),
        ((1, 1), (1.0,), [64.0], [(64, 64)]),
    ],
)
def test_small_scales_are_left_out_and_small_images_enlarged(size, scales, kept, sides):
    levels = list(image_pyramid(image(*size), scales, SPCA))
    assert [scale for scale, _ in levels] == kept
    assert [tuple(level.shape[-2:]) for _, level in levels] == sides


@pytest.mark.parametrize("protocol", [SIZE, FACTOR, AREA, TRUNCATE], ids=lambda one: one.scale_resize)
def test_without_a_least_side_every_scale_is_kept(protocol):
    levels = list(image_pyramid(image(2, 500), (0.25, 1.0), protocol))
    assert [scale for scale, _ in levels] == [0.25, 1.0]
    assert all(min(level.shape[-2:]) >= 1 for _, level in levels)


def test_truncated_sides():
    assert resize_to_scale(image(100, 81), 0.7071, TRUNCATE).shape[-2:] == (70, 57)
    smooth = Protocol(scale_resize="truncate-antialias")
    given = image(64, 64)
    assert_allclose(
        resize_to_scale(given, 0.5, smooth), F.interpolate(given, size=(32, 32), mode="bilinear", antialias=True)
    )
    assert not torch.allclose(resize_to_scale(given, 0.5, smooth), resize_to_scale(given, 0.5, TRUNCATE))


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_must_be_positive(scale):
    with pytest.raises(InputError, match=f"must be positive, got {scale}"):
        list(image_pyramid(image(8, 8), (scale,), SIZE))


def test_there_must_be_a_scale():
    with pytest.raises(InputError, match="at least one image scale"):
        list(image_pyramid(image(8, 8), (), SIZE))
