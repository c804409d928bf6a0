"""What a classification loss costs with as many classes as Google Landmarks v2 clean has."""

import pytest
import torch

from retrieval_bench.losses import LOSSES, list_losses
from retrieval_bench.losses.base import ClassificationLoss

CLASSES, DIM, BATCH = 81_313, 64, 8


def classifications() -> list[str]:
    return [name for name in list_losses() if issubclass(LOSSES.get(name), ClassificationLoss)]


@pytest.mark.parametrize("name", classifications())
def test_memory_is_a_few_matrices_of_cosines_and_the_weights_once(name: str) -> None:
    """For the backward pass at batch 128 and 512 dimensions: up to 6 x 42 MB of cosines and 167 MB of weights."""
    torch.manual_seed(0)
    loss = LOSSES.create(name, {}, dim=DIM, num_classes=CLASSES)
    descriptors = torch.randn(BATCH, DIM, requires_grad=True)
    labels = torch.tensor([0, 1, 40_000, CLASSES - 1] * 2)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        value = loss(descriptors, labels)
    assert torch.isfinite(value)
    value.backward()
    assert torch.isfinite(descriptors.grad).all()
    assert torch.isfinite(loss.weight.grad).all()
    cosines, weights = 4 * BATCH * CLASSES, 4 * DIM * CLASSES
    norms = 4 * CLASSES
    assert sum(kept.values()) <= 6 * cosines + weights + 4 * norms
