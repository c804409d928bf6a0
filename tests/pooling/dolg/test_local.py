"""DOLG's local branch against its formulas."""

import pytest
import torch
import torch.nn.functional as F

from retrieval_bench.pooling.dolg.local import LocalBranch, MultiAtrous


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def branch(multi_atrous):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LocalBranch(12, multi_atrous).eval()


@pytest.mark.parametrize("multi_atrous", [False, True])
def test_score_times_unit_descriptor(multi_atrous):
    local, feature_map = branch(multi_atrous), draw(2, 12, 4, 5)
    context = local.context(feature_map)
    assert torch.equal(context, feature_map) is not multi_atrous
    hidden = local.attention.norm(local.attention.hidden(context))
    score = F.softplus(local.attention.score(F.relu(hidden)))
    torch.testing.assert_close(local(feature_map), score * hidden / hidden.norm(dim=1, keepdim=True))
    assert (local(feature_map) < 0).any(), "the descriptor is taken before the ReLU"


def sample(values, row, column):
    """A position of ``(C, H, W)``, zero outside."""
    inside = 0 <= row < values.shape[1] and 0 <= column < values.shape[2]
    return values[:, row, column] if inside else torch.zeros(values.shape[0])


def test_context_position_by_position():
    block, feature_map = MultiAtrous(6), draw(1, 6, 20, 20)
    expected = torch.empty(6, 20, 20)
    values = feature_map[0]
    image = F.relu(block.image.weight[:, :, 0, 0] @ values.mean(dim=(1, 2)) + block.image.bias)
    for row in range(20):
        for column in range(20):
            parts = [image]
            for layer, reach in zip(block.branches, (0, 6, 12, 18), strict=True):
                total = layer.bias.clone()
                for i in range(layer.weight.shape[2]):
                    for j in range(layer.weight.shape[3]):
                        near = sample(values, row + (i - 1) * reach, column + (j - 1) * reach)
                        total = total + layer.weight[:, :, i, j] @ near
                parts.append(total)
            merged = block.merge.weight[:, :, 0, 0] @ torch.cat(parts) + block.merge.bias
            expected[:, row, column] = F.relu(merged)
    torch.testing.assert_close(block(feature_map)[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 16), (16, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("multi_atrous", [False, True])
def test_any_size(multi_atrous, size):
    attended = branch(multi_atrous)(draw(2, 12, *size))
    assert attended.shape == (2, 12, *size)
    assert attended.isfinite().all()


def test_one_channel_is_enough():
    assert MultiAtrous(1)(draw(1, 1, 2, 2)).shape == (1, 1, 2, 2)


def test_the_published_number_of_parameters():
    def size(multi_atrous):
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in LocalBranch(1024, multi_atrous).parameters())

    assert size(multi_atrous=False) == 1_052_673
    assert size(multi_atrous=True) == 18_882_049
