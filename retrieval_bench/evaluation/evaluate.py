"""`evaluate`: figures from a ranking."""

from collections.abc import Sequence
from typing import Any

from retrieval_bench.evaluation.metric import RevisitedMetric
from retrieval_bench.evaluation.result import Result
from retrieval_bench.values.ranking import Ranking

KAPPAS = (1, 5, 10)


def evaluate(
    ranking: Any, ground_truth: Any, *, kappas: Sequence[int] = KAPPAS, database_size: int | None = None
) -> Result:
    """mAP and mP@k of a ranking under the Revisited protocol.

    A ranking may be cut at some depth: positives that it does not hold are missed, and the AP is still divided by all
    positives of the query. K of P@k (see `revisited.precision_at`) then follows the last positive that it holds. A
    query none of whose positives is held gets AP 0 and P@k 0, where the authors' code stops with an error.

    Args:
        ranking: a `Ranking`, or a plain ``(Q, k)`` integer tensor or array of database rows, best first.
        ground_truth: a list of Q mappings with `easy`, `hard` and, where there is any, `junk` (zero-based database
            rows), as in the published files, or a mapping that holds the list under `gnd`.
        kappas: the cut-offs k of P@k.
        database_size: N. Where given, rows beyond it are refused; a ranking alone does not tell.

    Raises:
        InputError: a ranking with rows repeated, negative or beyond the database, NaN scores, another number of queries
            than the ground truth, or ground truth in another format.
    """
    if not isinstance(ranking, Ranking):
        ranking = Ranking.from_indices(ranking)
    # Whoever calls this has the whole ranking, also in one of several processes: nothing is to be added up over them.
    metric = RevisitedMetric(ground_truth, kappas, database_size, sync_on_compute=False)
    metric.update(ranking)
    return metric.compute()
