"""Sizes of the scales, and descriptors merged over them."""

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose

from retrieval_bench.methods.pyramid import merge_scales, resize_to_scale
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


@pytest.mark.parametrize("rule", ["size", "scale-factor"])
@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [((20, 40), 0.5, (16, 32)), ((20, 40), 1.0, (20, 40)), ((8, 8), 1.0, (16, 16)), ((10, 30), 2.0, (20, 60))],
)
def test_a_small_image_is_enlarged_to_the_minimum_side_with_its_aspect(rule, size, scale, expected):
    protocol = Protocol(scale_resize=rule, minimum_side=16)
    assert resize_to_scale(image(*size), scale, protocol).shape[-2:] == expected


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_must_be_positive(scale):
    with pytest.raises(InputError, match=f"must be positive, got {scale}"):
        resize_to_scale(image(8, 8), scale, SIZE)


def parts(count: int = 3, positive: bool = True) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(4, 6, generator=generator) for _ in range(count)]
    return [F.normalize(part.abs() if positive else part, dim=1) for part in drawn]


def test_the_mean_is_normalised():
    given = parts(positive=False)
    expected = sum(given) / 3
    assert_allclose(merge_scales(given), expected / expected.norm(dim=1, keepdim=True), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 2.5])
def test_the_power_mean_is_its_formula(exponent):
    given = parts()
    mean = (sum(part.double() ** exponent for part in given) / 3) ** (1 / exponent)
    assert_allclose(merge_scales(given, exponent), mean / mean.norm(dim=1, keepdim=True), rtol=1e-5)


def test_the_power_mean_of_zeros_is_finite():
    assert merge_scales([torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 0]])], 3.0).isfinite().all()


@pytest.mark.parametrize("exponent", [1.0, 3.0])
def test_one_scale_is_itself(exponent):
    (given,) = parts(1, positive=False)
    assert_allclose(merge_scales([given], exponent), given, rtol=1e-6)
