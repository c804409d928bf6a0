"""Losses and the lengths of their gradients against pytorch-metric-learning 2.9.0, run once in float64.

There, the angular margin is given in degrees, the contrastive loss lacks the factor 1/2 and the squares, and the other
losses have the options that stand here by the names that they have there; ``MeanReducer`` unless active terms count.
"""

import pytest
import torch

from retrieval_bench.losses import LOSSES
from retrieval_bench.losses.base import ClassificationLoss

LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])

EXPECTED = [
    ("arcface", {"margin": 0.5, "scale": 8.0, "beyond": "linear"}, 8.3971202547437, 1.12310137468634),
    (
        "arcface",
        {"margin": 0.5, "scale": 8.0, "beyond": "linear", "sub_centres": 3},
        8.46763743967028,
        1.15410808369005,
    ),
    ("cosface", {"margin": 0.35, "scale": 8.0}, 7.95983598392257, 1.2628837708219),
    ("normsoftmax", {"scale": 8.0}, 5.3436780194224, 1.13513629744916),
    ("multisimilarity", {}, 0.464146151266777, 0.202002098002649),
    ("multisimilarity", {"mining": "all"}, 0.574945545150699, 0.205086763606058),
    ("fastap", {"bins": 10}, 0.331512879617153, 0.351107695742965),
    ("smoothap", {"query": "counted"}, 0.101319135673673, 0.333895634421675),
    ("triplet", {"mining": "all", "margin": 0.3}, 0.0728198340675851, 0.172268077332953),
    (
        "triplet",
        {"mining": "all", "margin": 0.3, "distance": "euclidean", "reduction": "mean-active"},
        0.212611957518743,
        0.295078585984898,
    ),
    ("triplet", {"mining": "batch-hard", "margin": 0.3, "distance": "euclidean"}, 0.358625482250754, 0.361142767016955),
    ("contrastive", {"mining": "all", "penalty": "linear"}, 0.47932610800273, 0.0859309187124794),
]


@pytest.mark.parametrize(("name", "options", "value", "slope"), EXPECTED)
def test_value_and_gradient(name: str, options: dict, value: float, slope: float) -> None:
    steps = torch.arange(1, 73, dtype=torch.float64)
    descriptors = torch.sin(1.7 * steps[:54]).view(9, 6) + 2.5 * torch.eye(3, 6, dtype=torch.float64)[LABELS]
    descriptors.requires_grad_()
    loss = LOSSES.create(name, options, dim=6, num_classes=4).double()
    if isinstance(loss, ClassificationLoss):
        rows = len(loss.weight)
        loss.weight.data = torch.cos(2.3 * steps[: 6 * rows]).view(rows, 6)
    found = loss(descriptors, LABELS)
    found.backward()
    assert found.item() == pytest.approx(value, rel=1e-9)
    assert descriptors.grad.norm().item() == pytest.approx(slope, rel=1e-6)
