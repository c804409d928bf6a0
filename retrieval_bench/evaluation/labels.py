"""`Labels`: ground truth in the Revisited format, checked and turned into arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval_bench.settings.errors import InputError

LABELS = ("easy", "hard", "junk")


@dataclass(frozen=True)
class Labels:
    """What the ground truth says, one array of database rows per query.

    Attributes:
        easy, hard, junk: Q arrays each, int64, without repetition; the three are disjoint for every query.
    """

    easy: list[np.ndarray]
    hard: list[np.ndarray]
    junk: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.easy)

    @classmethod
    def read(cls, ground_truth: Any, database_size: int | None = None) -> "Labels":
        """Check `ground_truth` and keep its rows.

        Args:
            ground_truth: one mapping per query with `easy` and `hard` and, where there is any, `junk`: zero-based
                database rows as a list or array. Other keys, such as `bbx`, are not looked at. Also a mapping that
                holds this list under `gnd`, as the published files do.
            database_size: N, where it is known.

        Raises:
            InputError: another format, a row that is no whole number, below 0, beyond the database, or named twice.
        """
        if isinstance(ground_truth, Mapping):
            if "gnd" not in ground_truth:
                raise InputError("the ground truth is a mapping without 'gnd'; give the list with one entry per query")
            ground_truth = ground_truth["gnd"]
        if isinstance(ground_truth, str | bytes) or not isinstance(ground_truth, Sequence):
            raise InputError(
                f"the ground truth must be a list with one entry per query, got {type(ground_truth).__name__}"
            )
        rows: dict[str, list[np.ndarray]] = {label: [] for label in LABELS}
        for query, entry in enumerate(ground_truth):
            if not isinstance(entry, Mapping) or "easy" not in entry or "hard" not in entry:
                held = ", ".join(map(str, entry)) if isinstance(entry, Mapping) else type(entry).__name__
                raise InputError(
                    f"ground truth of query {query} must be a mapping with 'easy' and 'hard' (and 'junk'), got {held}"
                )
            for label in LABELS:
                rows[label].append(_rows(entry.get(label, ()), query, label, database_size))
            _check_distinct(query, {label: rows[label][-1] for label in LABELS})
        return cls(**rows)


def _rows(values: Any, query: int, label: str, database_size: int | None) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"ground truth of query {query}: {label} must be one flat list of database rows") from error
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"ground truth of query {query}: {label} must be a list of whole numbers (database rows), got "
            f"{array.dtype} of shape {array.shape}"
        )
    outside = array < 0 if database_size is None else (array < 0) | (array >= database_size)
    if outside.any():
        size = "" if database_size is None else f" of {database_size}"
        raise InputError(
            f"ground truth of query {query} names {label} row {array[outside][0]}, outside the database{size}; ground "
            "truth and database do not belong together"
        )
    return array.astype(np.int64)


def _check_distinct(query: int, rows: dict[str, np.ndarray]) -> None:
    together = np.sort(np.concatenate(list(rows.values())))
    twice = together[1:][together[1:] == together[:-1]]
    if twice.size:
        places = " and ".join(label for label in LABELS if twice[0] in rows[label])
        raise InputError(f"ground truth of query {query} names row {twice[0]} twice (under {places}); name it once")
