"""Centre-pivot convolution: equal to its definition, whole or in parts, from a volume or from pyramids."""

import pytest
import torch
import torch.nn.functional as F

from retrieval_bench.methods.cvnet import centre_pivot
from retrieval_bench.methods.cvnet.centre_pivot import CentrePivotConv, CentrePivotLayer, CorrelationConv
from retrieval_bench.methods.cvnet.correlation import correlate


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive(conv, volume):
    """By definition: one query position and one key position after the other."""
    step, pad = conv.stride, conv.key_plane.padding[0]
    kernel = conv.key_plane.kernel_size[0]
    batch, hq, wq, hk, wk, _ = volume.shape
    sides = [range(0, side, step) for side in (hq, wq, hk, wk)]
    out = torch.zeros(batch, *map(len, sides), conv.key_plane.out_channels)
    for a, i in enumerate(sides[0]):
        for b, j in enumerate(sides[1]):
            for c, k in enumerate(sides[2]):
                for d, m in enumerate(sides[3]):
                    for u in range(kernel):
                        for v in range(kernel):
                            y, x = i + u - pad, j + v - pad
                            if 0 <= y < hq and 0 <= x < wq:
                                out[:, a, b, c, d] += volume[:, y, x, k, m] @ conv.query_plane.weight[:, :, u, v].T
                            y, x = k + u - pad, m + v - pad
                            if 0 <= y < hk and 0 <= x < wk:
                                out[:, a, b, c, d] += volume[:, i, j, y, x] @ conv.key_plane.weight[:, :, u, v].T
    return out + conv.query_plane.bias + conv.key_plane.bias


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sides", [(4, 3, 2, 5), (1, 1, 3, 2), (1, 1, 1, 1)])
@torch.no_grad()
def test_a_volume(kernel, stride, sides):
    conv = CentrePivotConv(3, 4, kernel, stride)
    volume = draw(2, *sides, 3)
    found = conv(volume)
    assert found.shape == (2, *(-(-side // stride) for side in sides), 4)
    torch.testing.assert_close(found, naive(conv, volume), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [(1, 1), (2, 2), (1, 3), (3, 1)])
@pytest.mark.parametrize("sides", [(4, 3, 5, 6), (1, 1, 7, 2), (1, 9, 1, 1)])
@torch.no_grad()
def test_a_correlation_is_never_needed_whole(batch, sides):
    conv = CorrelationConv(3, 4, 5, 2)
    query, key = draw(batch[0], 3, 6, *sides[:2]), draw(batch[1], 3, 6, *sides[2:], seed=1)
    volume = correlate(query.flatten(3), key).unflatten(1, query.shape[-2:]).permute(0, 1, 2, 4, 5, 3)
    torch.testing.assert_close(conv(query, key), CentrePivotConv.forward(conv, volume), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("limit", [1, 700, 2000])
def test_parts_give_the_whole(monkeypatch, limit):
    first, second = CorrelationConv(3, 4, 5, 2), CentrePivotConv(4, 8, 3, 1)
    query, key = draw(2, 3, 6, 7, 5), draw(2, 3, 6, 4, 9, seed=1)

    def gradients():
        out = second(first(query, key))
        parameters = [*first.parameters(), *second.parameters()]
        return [out, *torch.autograd.grad(out.square().sum(), parameters)]

    whole = gradients()
    monkeypatch.setitem(centre_pivot.AT_ONCE, "cpu", limit)
    for part, expected in zip(gradients(), whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_a_layer_normalises_each_pair_by_itself():
    layer = CentrePivotLayer(CentrePivotConv(3, 8, 3, 1))
    torch.nn.init.normal_(layer.norm.weight)
    volume = draw(2, 3, 4, 2, 5, 3)
    convolved = layer.conv(volume).permute(0, 5, 1, 2, 3, 4)
    expected = F.relu(F.group_norm(convolved, 4, layer.norm.weight, layer.norm.bias))
    torch.testing.assert_close(layer(volume).permute(0, 5, 1, 2, 3, 4), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer(volume[1:]), layer(volume)[1:], rtol=1e-4, atol=1e-5)
