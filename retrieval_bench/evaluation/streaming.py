"""Figures from scores or descriptors that stream past in chunks: no ranking is ever made.

Two passes. The first computes the scores of all positives at once, the second counts, chunk by chunk, the negatives
above them. Nothing grows with the database but the time.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.evaluation.evaluate import KAPPAS
from retrieval_bench.evaluation.metric import RevisitedMetric
from retrieval_bench.evaluation.result import Result
from retrieval_bench.settings.errors import InputError

CHUNK = 16384


def evaluate_stream(
    score: Callable[[Tensor], Tensor],
    database_size: int,
    ground_truth: Any,
    *,
    kappas: Sequence[int] = KAPPAS,
    chunk: int = CHUNK,
) -> Result:
    """mAP and mP@k from a function that scores database rows.

    Args:
        score: takes ``(n,)`` int64 database rows, increasing, and returns ``(Q, n)`` scores, higher is better, any
            sign. Called once with all rows that are a positive of any query, then with the rows of each chunk.
        database_size: N.
        ground_truth, kappas: as for `evaluate`.
        chunk: database rows scored at a time. It changes the memory, not the figures.

    Raises:
        InputError: NaN scores, another number of queries than the ground truth, ground truth that names rows beyond N,
            an empty database, or a chunk below 1.
    """
    if database_size < 1:
        raise InputError("the database is empty; give it at least one image")
    if chunk < 1:
        raise InputError(f"a chunk must hold at least 1 database row, got {chunk}")
    metric = RevisitedMetric(ground_truth, kappas, database_size, sync_on_compute=False)
    metric.set_positive_scores(score(metric.positive_rows))
    for first_row in range(0, database_size, chunk):
        metric.update(score(torch.arange(first_row, min(first_row + chunk, database_size))), first_row)
    return metric.compute()


def evaluate_scores(scores: Any, ground_truth: Any, *, kappas: Sequence[int] = KAPPAS, chunk: int = CHUNK) -> Result:
    """mAP and mP@k from a whole score matrix; of equal scores the smaller database row stands higher.

    Args:
        scores: ``(Q, N)`` floating-point tensor or array, higher is better, any sign.
        ground_truth, kappas, chunk: as for `evaluate_stream`.

    Raises:
        InputError: no floating-point matrix; else as `evaluate_stream`.
    """
    matrix = torch.as_tensor(scores)
    if matrix.ndim != 2 or not matrix.is_floating_point():
        dtype = str(matrix.dtype).removeprefix("torch.")
        raise InputError(f"scores must be a (Q, N) floating-point matrix, got {dtype} of shape {tuple(matrix.shape)}")
    return evaluate_stream(
        lambda rows: matrix[:, rows.to(matrix.device)], matrix.shape[1], ground_truth, kappas=kappas, chunk=chunk
    )


def evaluate_descriptors(
    query_descriptors: Any,
    database_descriptors: Any,
    ground_truth: Any,
    *,
    kappas: Sequence[int] = KAPPAS,
    chunk: int = CHUNK,
    device: str | torch.device = "cpu",
) -> Result:
    """mAP and mP@k of exact search by inner product, without a ranking.

    Products are summed in float64 and rounded to float32, so that a pair has the same score in whichever chunk it
    comes.

    Args:
        query_descriptors: ``(Q, D)`` tensor or array.
        database_descriptors: ``(N, D)`` tensor, array or memory map of any floating-point type, or anything with a
            length and slices of that kind.
        ground_truth, kappas, chunk: as for `evaluate_stream`.
        device: where to multiply; it must know float64.

    Raises:
        InputError: descriptors of different length; else as `evaluate_stream`.
    """
    size = len(database_descriptors)
    queries = _block(query_descriptors, 0, len(query_descriptors), device)

    def score(rows: Tensor) -> Tensor:
        spans = [(first, first + 1) for first in rows.tolist()]
        if len(rows) and int(rows[-1] - rows[0]) + 1 == len(rows):
            spans = [(int(rows[0]), int(rows[-1]) + 1)]
        blocks = [_block(database_descriptors, first, end, device) for first, end in spans]
        block = torch.cat(blocks) if blocks else queries[:0]
        if block.shape[1] != queries.shape[1]:
            raise InputError(
                f"query descriptors have {queries.shape[1]} dimensions, database descriptors {block.shape[1]}; extract "
                "both with one model"
            )
        return (queries @ block.T).float()

    return evaluate_stream(score, size, ground_truth, kappas=kappas, chunk=chunk)


def _block(descriptors: Any, first: int, end: int, device: str | torch.device) -> Tensor:
    rows = descriptors[first:end]
    tensor = rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))
    if tensor.ndim != 2:
        raise InputError(f"descriptors must be a matrix with a row per image, got {tensor.ndim} dimensions")
    return tensor.to(device).double()
