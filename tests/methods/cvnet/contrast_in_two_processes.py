"""Run by a test, once per process: the momentum contrast of the halves of one batch, over two steps."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from retrieval_bench.methods.cvnet.momentum import MomentumContrast

LABELS = torch.tensor([0, 1, 1, 2, 0, 2, 0, 1])


def branch() -> MomentumContrast:
    """A branch whose network does not matter here."""
    return MomentumContrast(
        {"part": nn.Linear(2, 2)}, 6, momentum=0.9, queue_size=20, margin=0.15, temperature=0.1, batchnorm="batch"
    )


def step(number: int) -> tuple[Tensor, Tensor]:
    """Embeddings and keys of the whole batch of a step."""
    drawn = torch.randn(2, len(LABELS), 6, generator=torch.Generator().manual_seed(number))
    return drawn[0], drawn[1]


def main(rank: int, meeting: Path) -> None:
    """Leave losses and state."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    contrast, half = branch().train(), slice(4 * rank, 4 * rank + 4)
    losses = [contrast(*(each[half] for each in step(number)), LABELS[half]) for number in range(3)]
    contrast.eval()
    if rank == 0:  # evaluation waits for nobody: ranks may hold different numbers of batches
        losses.append(contrast(*(each[half] for each in step(3)), LABELS[half]))
    torch.save({"losses": torch.stack(losses), **contrast.state_dict()}, meeting.parent / f"rank_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
