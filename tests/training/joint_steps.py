"""Run by two processes: a few steps on the halves of a batch, as `DistributedDataParallel` makes them.

Arguments: rank, file for the rendezvous, folder for the results, methods separated by commas.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import retrieval_bench as rb
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.training.joint_batchnorm import JointBatchNorm, JointStatistics

STEPS = 3
BATCH = 8


def build(method: str) -> RetrievalModule:
    """A tiny network from one seed, in training mode."""
    torch.manual_seed(0)
    return rb.create_model(method, backbone="test_resnet", dim=16, num_classes=4).train()


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The joint batch of a step; each half holds two images of each of two classes."""
    images = torch.rand(BATCH, 3, 48, 40, generator=torch.Generator().manual_seed(step))
    return images, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])


class Losses(torch.nn.Module):
    """What DDP wraps: its forward is the method's losses."""

    def __init__(self, model: RetrievalModule):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.model.losses(images, labels)["loss"]


def steps(network: torch.nn.Module, model: RetrievalModule, share: slice) -> list[float]:
    """The loss of each step on a share of the joint batches."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.001, momentum=0.9)
    losses = []
    for step in range(STEPS):
        images, labels = batch(step)
        loss = network(images[share], labels[share])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def normalise(share: slice, joint: bool) -> dict[str, torch.Tensor]:
    """One pass through a batch normalisation of 8 x 5 x 3 values, with gradients."""
    generator = torch.Generator().manual_seed(7)
    layer = torch.nn.BatchNorm1d(5)
    torch.nn.init.normal_(layer.weight, generator=generator)
    if joint:
        layer.__class__ = JointBatchNorm
    values = torch.randn(BATCH, 5, 3, generator=generator)[share].requires_grad_()
    weights = torch.randn(BATCH, 5, 3, generator=generator)[share]
    out = layer(values)
    (out.sin() * weights).sum().backward()
    found = {"out": out, "input gradient": values.grad, "weight gradient": layer.weight.grad}
    return {name: value.detach() for name, value in found.items()} | dict(layer.named_buffers())


def main(rank: int, rendezvous: str, folder: str, methods: list[str]) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    half = slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
    # Uneven shares, as at the end of an epoch.
    found: dict[str, object] = {"batch norm": normalise(slice(0, 5) if rank == 0 else slice(5, 8), True)}
    for method in methods:
        model = JointStatistics().apply(build(method))
        found[method] = steps(DistributedDataParallel(Losses(model)), model, half)
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4].split(","))
