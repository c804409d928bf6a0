"""The Revisited Oxford and Paris protocol, as mathematics.

Radenović, Iscen, Tolias, Avrithis, Chum: Revisiting Oxford and Paris, CVPR 2018, section 3. Every database image is,
for one query, *easy*, *hard*, *junk* or (all the others) *negative*. A level says which of them are positives; what is
neither positive nor negative is taken out of the ranking before anything is counted:

    level    positives     taken out
    easy     easy          hard, junk
    medium   easy, hard    junk
    hard     hard          easy, junk

The negatives are the same at every level. So one number per positive is all there is to know about a ranking: how many
negatives stand above it. Sort these numbers; the j-th of them (from 0) belongs to the positive with j positives above
it, whose position in the cleaned ranking is therefore that number plus j. Which positive it is does not matter to the
figures, and so positives need never be compared with each other.
"""

from collections.abc import Sequence

import numpy as np

POSITIVES: dict[str, tuple[str, ...]] = {"easy": ("easy",), "medium": ("easy", "hard"), "hard": ("hard",)}
"""The labels that are positive at each level."""


def positions(negatives_above: np.ndarray) -> np.ndarray:
    """Zero-based positions of the retrieved positives in the ranking cleaned of what is ignored.

    Args:
        negatives_above: ``(m,)`` int64, for each retrieved positive the negatives that stand above it, in any order.

    Returns:
        ``(m,)`` int64, strictly increasing.
    """
    return np.sort(negatives_above) + np.arange(len(negatives_above))


def average_precision(positions: np.ndarray, n_positives: int) -> float:
    """Area under the precision-recall curve by trapezoids.

        AP = 1 / (2 P) * sum_j (before_j + at_j),   at_j = (j + 1) / (r_j + 1),   before_j = j / r_j, or 1 where r_j = 0

    Args:
        positions: ``(m,)`` zero-based positions r_j of the retrieved positives, increasing, m <= P.
        n_positives: P, all positives of the query, retrieved or not.

    Returns:
        0 to 1; 0 where no positive was retrieved; NaN where the query has none.
    """
    if n_positives == 0:
        return float("nan")
    found = np.arange(len(positions))
    before = np.where(positions == 0, 1.0, found / np.maximum(positions, 1))
    at = (found + 1) / (positions + 1)
    return float((before + at).sum() / (2 * n_positives))


def precision_at(k: int, positions: np.ndarray, n_positives: int) -> float:
    """Share of positives among the first K = min(k, place of the last retrieved positive, counted from 1).

    K shrinks so that a query with fewer than k positives can reach 1. It follows the last *retrieved* positive: in a
    ranking cut at some depth the positives below the cut do not count. Where none was retrieved the authors' code stops
    with an error (the largest of no numbers); here the precision is 0.

    Args:
        k: at least 1.
        positions: ``(m,)`` zero-based positions of the retrieved positives, increasing.
        n_positives: all positives of the query.

    Returns:
        0 to 1; NaN where the query has no positives.
    """
    if n_positives == 0:
        return float("nan")
    if len(positions) == 0:
        return 0.0
    depth = min(k, int(positions[-1]) + 1)
    return np.count_nonzero(positions < depth) / depth


def query_figures(
    negatives_above: dict[str, np.ndarray], n_positives: dict[str, int], kappas: Sequence[int]
) -> dict[str, float]:
    """AP and P@k of one query at every level.

    Args:
        negatives_above: under ``easy`` and ``hard``, for each *retrieved* image of that label the negatives above it.
        n_positives: under ``easy`` and ``hard``, how many images have that label, retrieved or not.
        kappas: the cut-offs k of P@k.

    Returns:
        ``ap_easy``, ``p1_easy``, ``p5_easy`` ... and the same for medium and hard; NaN at levels without positives.
    """
    figures: dict[str, float] = {}
    for level, labels in POSITIVES.items():
        found = positions(np.concatenate([negatives_above[label] for label in labels]))
        total = sum(n_positives[label] for label in labels)
        figures[f"ap_{level}"] = average_precision(found, total)
        for k in kappas:
            figures[f"p{k}_{level}"] = precision_at(k, found, total)
    return figures
