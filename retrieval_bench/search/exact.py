"""Exact search by inner product in torch, chunk by chunk.

Products are summed in float64 and rounded to float32. In float32 the score of one pair changes in its last bits with
the shape of the matrices it is computed in (and with TF32 in its fourth digit), so near ties would be ordered by the
chunk size.
"""

from typing import Any

import torch
from torch import Tensor

from retrieval_bench.search.descriptors import Descriptors, read_rows, refuse_not_finite
from retrieval_bench.search.order import pack, unpack
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import Ranking

QUERIES_AT_A_TIME = 1024


def search_exact(query: Descriptors, database: Descriptors, k: int, chunk: int, device: torch.device) -> Ranking:
    """The k best database rows of each query.

    Holds ``chunk`` database descriptors in float64 and, for up to 1024 queries, ``2 k + 2 chunk`` keys each.

    Args:
        query, database: ``(Q, D)`` and ``(N, D)``, of any floating-point types.
        k: at most N.
        chunk: database rows at a time.
        device: where to multiply; it must know float64.

    Returns:
        Ranking ``(Q, k)``, on the CPU.

    Raises:
        InputError: NaN or infinity in a descriptor.
    """
    parts = []
    for start in range(0, len(query), QUERIES_AT_A_TIME):
        block = read_rows(query, start, min(start + QUERIES_AT_A_TIME, len(query)), "query")
        refuse_not_finite(block, start, "query")
        parts.append(_best(block.to(device).double(), database, k, chunk).cpu())
    scores, rows = unpack(torch.cat(parts) if parts else torch.empty(0, k, dtype=torch.int64))
    return Ranking(rows, scores)


def _best(query: Tensor, database: Descriptors, k: int, chunk: int) -> Tensor:
    """``(q, k)`` keys, falling."""
    kept: list[Tensor] = []
    width = 0
    for first in range(0, len(database), chunk):
        block = read_rows(database, first, min(first + chunk, len(database)), "database").to(query.device).double()
        scores = (query @ block.T).float()
        # One bad number in a descriptor spoils all its scores, and these are fewer than the numbers in descriptors.
        if not scores.isfinite().all():
            refuse_not_finite(block, first, "database")
        kept.append(pack(scores, torch.arange(first, first + len(block), device=query.device)))
        width += len(block)
        # Waiting until 2 k have come together keeps the work linear in the database, also where k is large.
        if width > 2 * k:
            kept = [torch.cat(kept, dim=1).topk(k, dim=1).values]
            width = k
    return torch.cat(kept, dim=1).sort(dim=1, descending=True).values[:, :k]


def choose_device(device: Any) -> torch.device:
    """The device to search on: the one named, else the GPU where there is one.

    Raises:
        InputError: no such device here, or one without float64.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"unknown device {device!r}; use 'cpu' or 'cuda'") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for but torch sees no GPU; use device 'cpu'")
    if chosen.type == "mps":
        raise InputError("exact search needs float64, which device 'mps' lacks; use device 'cpu'")
    return chosen
