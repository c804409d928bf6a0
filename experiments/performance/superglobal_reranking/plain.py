"""SuperGlobal's re-ranking written down as its formulas stand; the reference, no part of the package."""

import torch
from torch import Tensor


def plain_scores(query: Tensor, database: Tensor, rows: Tensor, k: int = 9, beta: float = 0.15) -> Tensor:
    """New scores of candidates, all queries at once.

    Args:
        query: ``(Q, D)``.
        database: ``(N, D)``.
        rows: ``(Q, M)`` candidates, best first.

    Returns:
        ``(Q, M)``.
    """
    candidates = database[rows]  # (Q, M, D)
    similarities = candidates @ candidates.transpose(1, 2)  # (Q, M, M)
    weights, nearest = similarities.topk(k + 1, dim=2)
    weights = beta * weights
    weights[..., 0] = 1
    neighbours = candidates[torch.arange(len(query))[:, None, None], nearest]  # (Q, M, K + 1, D)
    refined = (weights[..., None] * neighbours).sum(dim=2) / weights.sum(dim=2, keepdim=True)
    first = torch.einsum("qmd,qd->qm", refined, query)
    best = first.argsort(dim=1, descending=True)[:, : k + 1]
    expanded = refined[torch.arange(len(query))[:, None], best].amax(dim=1)
    second = torch.einsum("qmd,qd->qm", refined, expanded)
    return (first + second) / 2


def plain_scores_one_by_one(query: Tensor, database: Tensor, rows: Tensor) -> Tensor:
    """As `plain_scores`, one query after the other, so that little memory is used."""
    return torch.cat([plain_scores(query[n : n + 1], database, rows[n : n + 1]) for n in range(len(query))])
