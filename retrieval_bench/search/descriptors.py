"""Descriptors as search takes them: anything with a length and slices of tensor or array rows."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.settings.errors import InputError


class Descriptors(Protocol):
    """A tensor, an array, a memory map, a descriptor store: ``(N, D)`` floating-point rows read by slices."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


def read_rows(descriptors: Descriptors, first: int, end: int, noun: str) -> Tensor:
    """Rows ``first ... end - 1`` as a tensor, as they are stored.

    Args:
        noun: what they are called in messages, ``"query"`` or ``"database"``.

    Raises:
        InputError: no matrix of floating-point numbers.
    """
    rows = descriptors[first:end]
    # Copied, for torch refuses to share memory that it must not write to, such as a read-only memory map.
    block = rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))
    if block.ndim != 2 or not block.is_floating_point():
        dtype = str(block.dtype).removeprefix("torch.")
        raise InputError(
            f"{noun} descriptors must be an (N, D) floating-point matrix, got {dtype} with {block.ndim} dimensions"
        )
    return block


def refuse_not_finite(block: Tensor, first: int, noun: str) -> None:
    """Refuse descriptors with NaN or infinity.

    Args:
        block: ``(n, D)``, rows `first` and on.

    Raises:
        InputError: naming the first such row.
    """
    bad = (~block.isfinite()).any(dim=1).nonzero()
    if len(bad):
        raise InputError(
            f"{noun} descriptor {first + int(bad[0])} holds NaN or infinity; look at its image and extract it again"
        )


def check_sizes(query: Descriptors, database: Descriptors, k: int | None) -> int:
    """Check numbers and dimensions, and settle how many rows to rank.

    Returns:
        k, or the size of the database where it is None.

    Raises:
        InputError: an empty database, dimensions that differ, or a k outside 1 to the size of the database.
    """
    if not len(database):
        raise InputError("the database is empty; give it at least one descriptor")
    query_dim = read_rows(query, 0, 1, "query").shape[1]
    database_dim = read_rows(database, 0, 1, "database").shape[1]
    if query_dim != database_dim:
        raise InputError(
            f"query descriptors have {query_dim} dimensions, database descriptors {database_dim}; extract both with "
            "one model"
        )
    if k is None:
        return len(database)
    if k < 1:
        raise InputError(f"k, the number of rows to rank, must be 1 or more, got {k}")
    if k > len(database):
        raise InputError(f"k = {k} is larger than the database of {len(database)}; set k to that or leave it out")
    return k
