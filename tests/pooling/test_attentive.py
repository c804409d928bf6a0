"""Positive scores and attended descriptors against their formulas."""

import torch
from torch import nn

from retrieval_bench.pooling.attentive import AttendedDescriptors, positive_scores


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_scores_position_by_position() -> None:
    hidden, score = draw(2, 5, 3, 4), nn.Conv2d(5, 1, 1)
    found = positive_scores(hidden, score)
    assert found.shape == (2, 1, 3, 4)
    for image in range(2):
        for row in range(3):
            for column in range(4):
                value = score.weight[0, :, 0, 0] @ hidden[image, :, row, column].relu() + score.bias[0]
                torch.testing.assert_close(found[image, 0, row, column], (1 + value.exp()).log())


@torch.no_grad()
def test_descriptors_are_the_unit_hidden_values_before_the_relu() -> None:
    branch, feature_map = AttendedDescriptors(6, 4).eval(), draw(2, 6, 3, 4)
    hidden = branch.norm(branch.hidden(feature_map))
    maps = branch(feature_map)
    torch.testing.assert_close(maps.descriptors, hidden / hidden.norm(dim=1, keepdim=True))
    torch.testing.assert_close(maps.scores, positive_scores(hidden, branch.score))
    assert (maps.descriptors < 0).any()
