"""Which places of a ranking a re-ranker fills anew, and with what: the plain rule, and CVNet's published one."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import Ranking

Level = Literal["easy", "medium", "hard"]

LEVELS: tuple[Level, ...] = get_args(Level)


def passed_over(annotation: Mapping[str, Any], level: Level) -> list[int]:
    """The database rows that the published rule never re-ranks for one query and level.

    They are what the level takes out of the evaluation: junk, at ``easy`` also the hard positives, at ``hard`` the easy
    ones. A row under two labels goes by the first of junk, easy, hard.

    Args:
        annotation: ``easy``, ``hard`` and, where there is any, ``junk``: database rows.
        level: of the evaluation.
    """
    junk = _rows(annotation.get("junk", ()))
    easy = _rows(annotation["easy"]) - junk
    hard = _rows(annotation["hard"]) - junk - easy
    return sorted({"easy": junk | hard, "medium": junk, "hard": junk | easy}[level])


def candidate_places(rows: Tensor, top_k: int, passed_over: Sequence[int] = ()) -> Tensor:
    """The places whose rows are re-ranked.

    Args:
        rows: ``(k,)`` database rows of one query, best first.
        top_k: how many are re-ranked, fewer where there are not as many.
        passed_over: database rows that do not count and keep their place; none by default. The published evaluation of
            CVNet takes them from the ground truth (sungonce/CVNet ``test/test_utils.py``), which lets candidates from
            further down come in and flatters the figure, most of all at the level ``hard``.

    Returns:
        ``(m,)`` places, rising.
    """
    counted = ~torch.isin(rows.cpu(), torch.tensor(passed_over, dtype=rows.dtype))
    return counted.nonzero()[:top_k, 0]


def refilled(rows: Tensor, scores: Tensor, places: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """Sort the rows at some places by new scores; all others stay where they are.

    Args:
        rows, scores: ``(k,)`` of one query, best first.
        places: ``(m,)``, rising.
        new: ``(m,)`` scores of the rows at `places`, none below its old one. Equal ones keep their order.

    Returns:
        rows and scores. A row between the places that keeps its own gets the score of the next one below, so that
        scores still fall.
    """
    order = torch.sort(new, descending=True, stable=True)
    rows, scores = rows.clone(), scores.clone()
    rows[places] = rows[places[order.indices]]
    scores[places] = order.values
    return rows, scores.flip(0).cummax(0).values.flip(0)


def check_annotations(ground_truth: Any, ranking: Ranking) -> list[Mapping[str, Any]]:
    """One annotation per query of `ranking`, or an `InputError` that says what was given instead.

    Args:
        ground_truth: a list of mappings with ``easy`` and ``hard`` (and ``junk``), or a mapping that holds it under
            ``gnd``, as the published files do.
        ranking: that it belongs to.
    """
    annotations: Any = ground_truth.get("gnd") if isinstance(ground_truth, Mapping) else ground_truth
    if isinstance(annotations, str) or not hasattr(annotations, "__len__"):
        raise InputError(f"ground_truth must be a list with one entry per query, got {type(annotations).__name__}")
    if len(annotations) != len(ranking):
        raise InputError(
            f"ground_truth has {len(annotations)} entries for {len(ranking)} queries; they must be as many"
        )
    for query, entry in enumerate(annotations):
        if not isinstance(entry, Mapping) or "easy" not in entry or "hard" not in entry:
            raise InputError(f"ground truth of query {query} must be a mapping with 'easy' and 'hard' (and 'junk')")
    return list(annotations)


def _rows(values: Any) -> set[int]:
    return {int(row) for row in values}
