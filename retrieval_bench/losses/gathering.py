"""One batch over all processes of a distributed run: what a loss needs that looks at the statistics of a batch.

Nothing here carries a gradient. In a run of one process tensors come back as they are.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def gather_rows(rows: Tensor) -> Tensor:
    """``(N_rank, ...)`` of every process -> ``(sum of N_rank, ...)`` in the order of ranks, the same on all of them.

    Processes may differ in ``N_rank``, as they do where one of them left out a broken image. All of them must call.
    """
    rows = rows.detach()
    if not distributed():
        return rows
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    sizes = [int(count) for count in counts]
    padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
    padded[: len(rows)] = rows
    gathered = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(gathered, padded)
    return torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)])


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean over processes of a tensor that has the same shape on all of them. All of them must call."""
    value = value.detach()
    if not distributed():
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def distributed() -> bool:
    """Whether several processes may share this run."""
    return dist.is_available() and dist.is_initialized()
