"""The rankings of a run on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retrieval_bench.settings.whole_file import whole_file
from retrieval_bench.values.ranking import LevelRankings, Ranking

FILE = "ranking.npz"
FIRST = "global_"
"""In front of the arrays of the ranking before the re-ranking."""


def write_rankings(folder: Path, stages: Mapping[str, LevelRankings]) -> None:
    """Write ``indices`` and ``scores`` of the last stage, ``global_indices`` and ``global_scores`` of one before it.

    Where levels have rankings of their own, the plain names are Medium's, and ``indices_easy``, ``indices_hard`` ...
    stand beside them.
    """
    arrays: dict[str, Any] = {}
    for prefix, rankings in zip(("", FIRST), reversed(list(stages.values())), strict=False):
        levels = rankings.of_levels() if rankings.differ else {"medium": rankings.medium}
        for level, ranking in levels.items():
            ending = "" if level == "medium" else f"_{level}"
            arrays[f"{prefix}indices{ending}"] = ranking.indices.cpu().numpy()
            arrays[f"{prefix}scores{ending}"] = ranking.scores.cpu().numpy()
    with whole_file(folder / FILE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_rankings(folder: Path) -> dict[str, LevelRankings]:
    """The rankings of a finished run by stage, ``global`` first."""
    with np.load(folder / FILE) as stored:

        def read(prefix: str, ending: str) -> Ranking:
            return Ranking(*(torch.from_numpy(stored[f"{prefix}{what}{ending}"]) for what in ("indices", "scores")))

        def levels(prefix: str) -> LevelRankings:
            medium = read(prefix, "")
            if f"{prefix}indices_easy" not in stored:
                return LevelRankings.same(medium)
            return LevelRankings(read(prefix, "_easy"), medium, read(prefix, "_hard"))

        if f"{FIRST}indices" not in stored:
            return {"global": levels("")}
        return {"global": levels(FIRST), "reranked": levels("")}
