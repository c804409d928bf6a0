"""part_name: a query is expanded by what it found, and asks again.

Source: own work; or authors, "title", venue and year, section or equation.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.reranking import Reranker, register_reranker
from retrieval_bench.reranking.base import check_inputs
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import Ranking


def expanded(queries: Tensor, neighbours: Tensor, alpha: float) -> Tensor:
    """The unit mean of a query and its neighbours, each weighted by its similarity to the power of `alpha`.

    Args:
        queries: ``(Q, D)`` unit descriptors.
        neighbours: ``(Q, n, D)`` unit descriptors, best first.
        alpha: 0 weighs all alike; a neighbour of negative similarity weighs nothing.

    Returns:
        ``(Q, D)``.
    """
    similarities = torch.einsum("qd,qnd->qn", queries, neighbours)
    weights = torch.where(similarities > 0, similarities.clamp(min=0).pow(alpha), 0)
    return F.normalize(queries + torch.einsum("qn,qnd->qd", weights, neighbours), dim=1)


@register_reranker("part_name")
class PartName(Reranker):
    """Expand each query by its first neighbours and sort its first candidates anew (Authors, Venue Year).

    Candidates beyond `top_k` keep their places, below the others.

    Args:
        top_k: candidates that are sorted anew.
        neighbours: candidates that a query is expanded by; 0 leaves the ranking as it is.
        alpha: exponent of their weights.

    Raises:
        InputError: an impossible option.
    """

    def __init__(self, top_k: int = 400, neighbours: int = 5, alpha: float = 3.0):
        if top_k < 1:
            raise InputError(f"rerank.top_k must be at least 1, got {top_k}")
        if neighbours < 0:
            raise InputError(f"rerank.neighbours must be 0 or more, got {neighbours}")
        self.top_k = top_k
        self.neighbours = neighbours
        self.alpha = alpha

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        """Return a ranking of the same shape; `query` is ``(Q, D)`` and `database` ``(N, D)``."""
        check_inputs(ranking, query, database, needs="a matrix of descriptors, one row per image")
        queries, known = (torch.as_tensor(side, dtype=torch.float32) for side in (query, database))
        if not self.neighbours or not ranking.indices.numel():
            return ranking
        for side, rows in (("query", queries), ("database", known)):
            bad = (~rows.isfinite()).any(dim=1).nonzero()
            if len(bad):
                raise InputError(f"{side} descriptor {int(bad[0])} holds NaN or infinity; look at its image")
        first, rest = ranking.indices[:, : self.top_k], ranking.scores[:, self.top_k :]
        asking = expanded(queries, known[ranking.indices[:, : self.neighbours]], self.alpha)
        scores = torch.einsum("qd,qkd->qk", asking, known[first])
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        # The scores of a row never rise: the rest goes on where the sorted ones end.
        moved = rest - rest[:, :1] + scores[:, -1:]
        rows = torch.cat([first.gather(1, order), ranking.indices[:, self.top_k :]], dim=1)
        return Ranking(rows, torch.cat([scores, moved], dim=1))
