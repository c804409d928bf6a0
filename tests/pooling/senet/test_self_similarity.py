"""Self-similarity against its definition, position by position."""

import pytest
import torch

from retrieval_bench.pooling.senet.self_similarity import padded_self_similarity, self_similarity


def unit_map(*shape):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(values, dim=1)


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 1, 1), (1, 2, 1, 9)], ids=str)
def test_equals_the_definition(shape, size):
    values = unit_map(*shape)
    batch, channels, height, width = shape
    expected = torch.zeros(batch, height, width, channels, size, size)
    for image in range(batch):
        for y in range(height):
            for x in range(width):
                for u in range(size):
                    for v in range(size):
                        row, column = y + u - size // 2, x + v - size // 2
                        if 0 <= row < height and 0 <= column < width:
                            product = values[image, :, y, x] * values[image, :, row, column]
                            expected[image, y, x, :, u, v] = product.clamp(min=0)
    torch.testing.assert_close(self_similarity(values, size), expected)


def test_a_position_resembles_itself_wholly():
    found = self_similarity(unit_map(2, 6, 3, 3), 5)
    torch.testing.assert_close(found[..., 2, 2].sum(dim=3), torch.ones(2, 3, 3))
    assert (found >= 0).all()
    assert (found <= 1 + 1e-6).all()


def test_a_strip_of_a_padded_map_gives_its_rows():
    values = unit_map(1, 4, 6, 5)
    padded = torch.nn.functional.pad(values, (2,) * 4)
    strip = padded_self_similarity(padded[:, :, 2 : 2 + 3 + 4], 5)
    assert torch.equal(strip, self_similarity(values, 5)[:, 2:5])


def test_gradients_equal_finite_differences():
    values = unit_map(1, 2, 2, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda given: self_similarity(given, 3), (values,))
