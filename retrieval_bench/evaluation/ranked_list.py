"""How many negatives stand above each positive in a ranked list, which may be cut at some depth."""

import numpy as np

from retrieval_bench.settings.errors import InputError


def count_above_in_list(rows: np.ndarray, positives: np.ndarray, junk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count for one query.

    Args:
        rows: ``(k,)`` int64, database rows, best first, none twice.
        positives: ``(P,)`` int64, database rows, none twice.
        junk: database rows to pass over.

    Returns:
        ``(m,)`` indices into `positives` of those that the list holds, and ``(m,)`` int64, the negatives above each.
    """
    labelled_at = np.flatnonzero(np.isin(rows, np.concatenate([positives, junk])))
    above = labelled_at - np.arange(len(labelled_at))
    _, which, at = np.intersect1d(positives, rows[labelled_at], assume_unique=True, return_indices=True)
    return which, above[at]


def check_rank_matrix(ranked: np.ndarray, database_size: int | None) -> None:
    """Refuse a rank matrix ``(Q, k)`` with rows outside the database or repeated for one query.

    Raises:
        InputError: naming the first such query and row.
    """
    in_order = np.sort(ranked, axis=1)
    limit = np.iinfo(np.int64).max if database_size is None else database_size
    outside = np.argwhere((ranked < 0) | (ranked >= limit))
    if outside.size:
        query, place = outside[0]
        size = "" if database_size is None else f" of {database_size}"
        raise InputError(
            f"the ranking of query {query} holds row {ranked[query, place]} at place {place}, outside the "
            f"database{size}"
        )
    repeated = np.argwhere(in_order[:, 1:] == in_order[:, :-1])
    if repeated.size:
        query, place = repeated[0]
        raise InputError(
            f"the ranking of query {query} holds row {in_order[query, place]} more than once; rank every row once"
        )
