"""`search`: one interface for all ways to search."""

from collections.abc import Callable
from typing import Any

import torch

from retrieval_bench.search.descriptors import Descriptors, check_sizes
from retrieval_bench.search.exact import choose_device, search_exact
from retrieval_bench.search.faiss_index import search_flat
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.values.ranking import Ranking

BACKENDS: dict[str, Callable[[Descriptors, Descriptors, int, int, torch.device], Ranking]] = {
    "torch": search_exact,
    "faiss": search_flat,
}


def search(
    query_descriptors: Descriptors,
    database_descriptors: Descriptors,
    k: int | None = None,
    *,
    backend: str = "torch",
    chunk: int = 16384,
    device: Any = None,
) -> Ranking:
    """Rank the database for every query by inner product, exactly; of equal scores the smaller database row comes
    first.

    For descriptors of unit norm the inner product is the cosine.

    Args:
        query_descriptors: ``(Q, D)`` floating-point tensor or array.
        database_descriptors: ``(N, D)`` tensor, array or memory map, or anything else with a length and slices of that
            kind; at most `chunk` rows are read at a time.
        k: how many rows to rank for each query; None for all N.
        backend: ``"torch"``, the reference, or ``"faiss"``.
        chunk: database rows at a time. With torch it changes the memory, not the ranking.
        device: ``"cpu"``, ``"cuda"``, a `torch.device`, or None for the GPU where there is one.

    Returns:
        Ranking ``(Q, k)``, on the CPU.

    Raises:
        InputError: an unknown backend or device, an empty database, dimensions that differ, k below 1 or larger than
            the database, NaN or infinity in a descriptor, or faiss not installed properly.
    """
    if backend not in BACKENDS:
        raise InputError(nearest(backend, BACKENDS, noun="search backend"))
    if chunk < 1:
        raise InputError(f"a chunk must hold at least 1 database row, got {chunk}")
    k = check_sizes(query_descriptors, database_descriptors, k)
    with torch.no_grad():
        return BACKENDS[backend](query_descriptors, database_descriptors, k, chunk, choose_device(device))
