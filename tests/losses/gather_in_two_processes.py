"""Run by a test, once per process: gathers over two ranks, MadaCos and AdaCos on the halves of one batch."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from retrieval_bench.losses import LOSSES
from retrieval_bench.losses.gathering import gather_rows, mean_over_ranks


def main(rank: int, meeting: Path) -> None:
    """Every assertion holds on both ranks."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)

    rows = torch.arange(6.0).view(3, 2)
    mine = rows[:2] if rank == 0 else rows[2:]
    assert torch.equal(gather_rows(mine), rows)
    assert torch.equal(gather_rows(rows if rank == 0 else rows[:0]), rows)
    assert not gather_rows(torch.ones(2, requires_grad=True)).requires_grad
    assert torch.equal(mean_over_ranks(torch.tensor([1.0, float(rank)])), torch.tensor([1.0, 0.5]))

    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(6, (10,), generator=generator)
    for background in ("median-sample", "median", "mean"):
        torch.manual_seed(0)
        loss = LOSSES.create("madacos", {"background": background}, dim=12, num_classes=6)
        descriptors = loss.weight.detach()[labels] + 0.05 * torch.randn(10, 12, generator=generator)
        half = slice(0, 5) if rank == 0 else slice(5, 10)
        part = loss(descriptors[half], labels[half]).detach()
        joint = dict(loss.last)
        loss.eval()(descriptors[half], labels[half])
        own = loss.cosines(descriptors[half]).gather(1, labels[half, None])
        assert torch.equal(loss.last["median"], own.median()), "evaluation goes by the process's own batch"
        torch.save({"part": part, **joint}, meeting.parent / f"{background}_{rank}.pt")

    torch.manual_seed(0)
    adacos = LOSSES.create("adacos", {}, dim=12, num_classes=6)
    descriptors = adacos.weight.detach()[labels] + 0.05 * torch.randn(10, 12, generator=generator)
    part = adacos(descriptors[half], labels[half]).detach()
    torch.save({"part": part, "scale": adacos.scale}, meeting.parent / f"adacos_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
