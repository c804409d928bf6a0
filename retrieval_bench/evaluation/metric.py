"""`RevisitedMetric`: the Revisited protocol as a torchmetrics metric, exact by counting.

For each positive it keeps how many negatives stand above it. These are small integers that add up over chunks, shards
and processes, so the memory does not grow with the database and any way of cutting it gives the same figures.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchmetrics import Metric

from retrieval_bench.evaluation.counting import OrderedPositives
from retrieval_bench.evaluation.labels import Labels
from retrieval_bench.evaluation.ranked_list import check_rank_matrix, count_above_in_list
from retrieval_bench.evaluation.result import Result
from retrieval_bench.evaluation.revisited import query_figures
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import Ranking


class RevisitedMetric(Metric):
    """mAP and mP@k at Easy, Medium and Hard, from chunks of scores or from a ranking.

    From scores, in two passes: first the scores of the positives, all from one computation, then everything else as it
    comes, in any order and from any number of processes, each row of the database once::

        metric = RevisitedMetric(ground_truth)
        metric.set_positive_scores(score(metric.positive_rows))    # (Q, U)
        for first_row, scores in chunks:                           # (Q, n)
            metric.update(scores, first_row)
        result = metric.compute()

    From a ranking: ``metric.update(ranking)``, once. Positives that it does not hold count as missed.

    Call `update`, not the metric itself: the figures of a single chunk mean nothing.

    Args:
        ground_truth: as `Labels.read` takes it.
        kappas: the cut-offs k of P@k.
        database_size: N. Where given, labels beyond it and a sum of chunks other than N rows are refused.
        **metric_options: those of `torchmetrics.Metric`, such as `sync_on_compute`.

    Raises:
        InputError: ground truth in another format, or a cut-off below 1.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    negatives_above: Tensor
    found: Tensor
    rows_seen: Tensor

    def __init__(
        self,
        ground_truth: Any,
        kappas: Sequence[int] = (1, 5, 10),
        database_size: int | None = None,
        **metric_options: Any,
    ):
        super().__init__(**metric_options)
        if any(k < 1 for k in kappas):
            raise InputError(f"the cut-offs of precision at k must be 1 or more, got {list(kappas)}")
        self.labels = Labels.read(ground_truth, database_size)
        self.kappas = tuple(kappas)
        self.database_size = database_size
        positives = [np.concatenate(pair) for pair in zip(self.labels.easy, self.labels.hard, strict=True)]
        width = max(map(len, positives), default=0)
        lengths = torch.tensor([len(rows) for rows in positives], dtype=torch.int64)
        self._is_positive = torch.arange(width) < lengths[:, None]
        self._rows = torch.zeros(len(positives), width, dtype=torch.int64)
        self._rows[self._is_positive] = torch.from_numpy(np.concatenate([np.empty(0, np.int64), *positives]))
        self._labelled_query, self._labelled_row = _labelled_by_row(self.labels)
        self._ordered: OrderedPositives | None = None
        zeros = torch.zeros(len(positives), width, dtype=torch.int64)
        self.add_state("negatives_above", zeros, dist_reduce_fx="sum")
        self.add_state("found", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("rows_seen", torch.zeros(1, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def positive_rows(self) -> Tensor:
        """``(U,)`` int64: the database rows that are a positive of any query, increasing."""
        return self._rows[self._is_positive].unique()

    def set_positive_scores(self, scores: Tensor) -> None:
        """Give the scores of the positives, before any chunk; the same in every process.

        Args:
            scores: ``(Q, U)``, every query with every row of `positive_rows`.

        Raises:
            InputError: another shape, NaN, or chunks were counted already (call `reset` first).
        """
        if self.rows_seen:
            raise InputError("scores of positives changed while counting; call reset() on the metric first")
        known = self.positive_rows
        if len(scores) != len(self.labels):
            raise InputError(
                f"scores of {len(scores)} queries but ground truth of {len(self.labels)}; they must be as many"
            )
        if scores.shape != (len(self.labels), len(known)):
            raise InputError(
                f"scores of positives must have a column per row of positive_rows, {len(known)}, got shape "
                f"{tuple(scores.shape)}"
            )
        scores = scores.detach() if scores.dtype == torch.float64 else scores.detach().float()
        _refuse_nan(scores, known)
        column = torch.searchsorted(known, self._rows).clamp(max=max(len(known) - 1, 0)).to(scores.device)
        own = scores.gather(1, column).masked_fill(~self._is_positive.to(scores.device), float("inf"))
        self._ordered = OrderedPositives(own, self._rows.to(own.device))

    def update(self, scores: Tensor | Ranking, first_row: int = 0) -> None:
        """Count one chunk of the database, or a whole ranking.

        Args:
            scores: ``(Q, n)`` scores of all queries with database rows ``first_row ... first_row + n - 1``, higher is
                better, any sign; or a `Ranking` of all queries, perhaps cut at some depth.
            first_row: of the chunk; no meaning for a ranking.

        Raises:
            InputError: another number of queries, NaN, rows outside the database, rows repeated in a ranking, or no
                scores of positives yet.
        """
        if isinstance(scores, Ranking):
            self._count_ranking(scores)
        else:
            self._count_chunk(scores, first_row)

    def compute(self) -> Result:
        """The figures of everything counted, over all processes.

        Raises:
            InputError: chunks left out rows of the database, or rows were counted twice.
        """
        counts, found = self.negatives_above.cpu().numpy(), self.found.cpu().numpy()
        self._check_complete(found)
        table = []
        for query, (easy, hard, junk) in enumerate(
            zip(self.labels.easy, self.labels.hard, self.labels.junk, strict=True)
        ):
            n = {"easy": len(easy), "hard": len(hard)}
            columns = {"easy": slice(0, n["easy"]), "hard": slice(n["easy"], n["easy"] + n["hard"])}
            above = {label: counts[query, span][found[query, span] > 0] for label, span in columns.items()}
            sizes = {"n_easy": len(easy), "n_hard": len(hard), "n_junk": len(junk)}
            table.append(sizes | query_figures(above, n, self.kappas))
        names = ["n_easy", "n_hard", "n_junk", *query_figures(_NO_COUNTS, {"easy": 0, "hard": 0}, self.kappas)]
        return Result(pd.DataFrame(table, columns=names), self.kappas)

    def _count_chunk(self, scores: Tensor, first_row: int) -> None:
        if self._ordered is None:
            raise InputError("the metric has no scores of positives yet; call set_positive_scores before update")
        if scores.ndim != 2 or len(scores) != len(self.labels):
            raise InputError(
                f"a chunk of scores must be (queries, rows) with {len(self.labels)} queries as in the ground truth, "
                f"got {tuple(scores.shape)}"
            )
        n = scores.shape[1]
        if first_row < 0 or (self.database_size is not None and first_row + n > self.database_size):
            size = "" if self.database_size is None else f" of {self.database_size}"
            raise InputError(f"a chunk holds rows {first_row} to {first_row + n - 1}, outside the database{size}")
        scores = scores.detach().to(self._ordered.scores)
        rows = torch.arange(first_row, first_row + n, device=scores.device)
        _refuse_nan(scores, rows)
        is_negative = torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
        span = slice(*torch.searchsorted(self._labelled_row, torch.tensor([first_row, first_row + n])).tolist())
        is_negative[self._labelled_query[span], self._labelled_row[span] - first_row] = False
        passed = self._is_positive & (self._rows >= first_row) & (self._rows < first_row + n)
        self.negatives_above += self._ordered.count_above(scores, rows, is_negative).to(self.negatives_above.device)
        self.found += passed.to(self.found.device)
        self.rows_seen += n

    def _count_ranking(self, ranking: Ranking) -> None:
        if len(ranking) != len(self.labels):
            raise InputError(
                f"the ranking has {len(ranking)} rows but the ground truth {len(self.labels)} queries; they must be as "
                "many"
            )
        _refuse_nan(ranking.scores, None)
        ranked = ranking.indices.cpu().numpy()
        check_rank_matrix(ranked, self.database_size)
        for query, rows in enumerate(ranked):
            positives = self._rows[query][self._is_positive[query]].numpy()
            columns, above = count_above_in_list(rows, positives, self.labels.junk[query])
            self.found[query, torch.from_numpy(columns)] += 1
            self.negatives_above[query, torch.from_numpy(columns)] += torch.from_numpy(above).to(self.found.device)

    def _check_complete(self, found: np.ndarray) -> None:
        streamed = int(self.rows_seen)
        if (found > 1).any():
            query, column = np.argwhere(found > 1)[0]
            raise InputError(
                f"database row {int(self._rows[query, column])} was counted twice for query {query}; give every chunk, "
                "or the one ranking, once"
            )
        absent = np.argwhere((found == 0) & self._is_positive.numpy())
        if streamed and absent.size:
            query, column = absent[0]
            raise InputError(
                f"ground truth of query {query} names row {int(self._rows[query, column])}, which was in no chunk; "
                "give every chunk of the database"
            )
        if streamed and self.database_size not in (None, streamed):
            raise InputError(
                f"{streamed} database rows were counted but the database has {self.database_size}; give every chunk "
                "once"
            )


_NO_COUNTS = {"easy": np.empty(0, dtype=np.int64), "hard": np.empty(0, dtype=np.int64)}


def _labelled_by_row(labels: Labels) -> tuple[Tensor, Tensor]:
    """Query and row of every label of any kind, rows increasing."""
    per_query = [np.concatenate(rows) for rows in zip(labels.easy, labels.hard, labels.junk, strict=True)]
    query = np.repeat(np.arange(len(per_query)), [len(rows) for rows in per_query])
    row = np.concatenate([np.empty(0, np.int64), *per_query])
    order = np.argsort(row, kind="stable")
    return torch.from_numpy(query[order]), torch.from_numpy(row[order])


def _refuse_nan(scores: Tensor, rows: Tensor | None) -> None:
    bad = scores.isnan()
    if bad.any():
        query, column = bad.nonzero()[0].tolist()
        where = f"place {column}" if rows is None else f"database row {int(rows[column])}"
        raise InputError(f"the score of query {query} at {where} is NaN; check the descriptors of both")
