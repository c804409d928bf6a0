"""The orthogonal component against its definition, and at the edges of the number range."""

import pytest
import torch
from torch import Tensor

from retrieval_bench.pooling.orthogonal import orthogonal_component
from retrieval_bench.settings.errors import InputError


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def position_by_position(feature_map: Tensor, vector: Tensor) -> Tensor:
    result = torch.empty_like(feature_map)
    for image in range(len(feature_map)):
        v = vector[image]
        for row in range(feature_map.shape[2]):
            for column in range(feature_map.shape[3]):
                f = feature_map[image, :, row, column]
                result[image, :, row, column] = f - (f @ v) / (v @ v) * v
    return result


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (1, 9)])
def test_equals_the_definition_at_every_position(size: tuple[int, int]) -> None:
    feature_map, vector = draw(2, 5, *size), draw(2, 5, seed=1)
    torch.testing.assert_close(orthogonal_component(feature_map, vector), position_by_position(feature_map, vector))


def test_is_orthogonal_and_idempotent() -> None:
    feature_map, vector = draw(3, 7, 2, 4), draw(3, 7, seed=1)
    orthogonal = orthogonal_component(feature_map, vector)
    dots = torch.einsum("bchw,bc->bhw", orthogonal, vector)
    torch.testing.assert_close(dots, torch.zeros_like(dots), rtol=0, atol=1e-12)
    torch.testing.assert_close(orthogonal_component(orthogonal, vector), orthogonal)


@pytest.mark.parametrize("length", [1e-30, 1e-3, -2.0, 1e30])
def test_length_and_sign_of_the_vector_do_not_matter(length: float) -> None:
    feature_map, vector = draw(2, 6, 3, 3, dtype=torch.float32), draw(2, 6, seed=1, dtype=torch.float32)
    torch.testing.assert_close(
        orthogonal_component(feature_map, vector * length), orthogonal_component(feature_map, vector)
    )


def test_a_zero_vector_takes_nothing_away_and_has_finite_gradients() -> None:
    feature_map = draw(2, 4, 2, 3).requires_grad_()
    vector = torch.stack([torch.zeros(4, dtype=torch.float64), draw(4, seed=1)]).requires_grad_()
    orthogonal = orthogonal_component(feature_map, vector)
    torch.testing.assert_close(orthogonal[0], feature_map[0])
    orthogonal.square().sum().backward()
    for values in (feature_map, vector):
        assert values.grad is not None
        assert torch.isfinite(values.grad).all()


def test_gradients_equal_finite_differences() -> None:
    feature_map, vector = draw(2, 3, 2, 2).requires_grad_(), draw(2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(orthogonal_component, (feature_map, vector))


def test_half_precision_is_computed_in_float32() -> None:
    feature_map, vector = 100 * draw(2, 64, 3, 3).half(), 100 * draw(2, 64, seed=1).half()
    orthogonal = orthogonal_component(feature_map, vector)
    assert orthogonal.dtype == torch.float16
    torch.testing.assert_close(orthogonal, orthogonal_component(feature_map.double(), vector.double()).half())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        exact = orthogonal_component(feature_map.float(), vector.float())
    torch.testing.assert_close(exact, orthogonal_component(feature_map.float(), vector.float()))


def test_images_do_not_mix() -> None:
    feature_map, vector = draw(3, 5, 2, 2), draw(3, 5, seed=1)
    alone = torch.cat([orthogonal_component(feature_map[i : i + 1], vector[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(orthogonal_component(feature_map, vector), alone)


@pytest.mark.parametrize("shapes", [((2, 4, 3), (2, 4)), ((2, 4, 3, 3), (2, 5)), ((2, 4, 3, 3), (1, 4))])
def test_shapes_that_do_not_belong_together(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match=r"\(B, C, H, W\)"):
        orthogonal_component(draw(*shapes[0]), draw(*shapes[1]))
