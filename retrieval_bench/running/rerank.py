"""The re-ranking step of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.recording.gallery import Points
from retrieval_bench.reranking.base import RERANKERS, Reranker, create_reranker, reranked
from retrieval_bench.running.state import RunState
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.faults import fault_of
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.values.dataset import RetrievalDataset
from retrieval_bench.values.ranking import LevelRankings, Ranking

AT_ONCE = 4
"""Queries given to a re-ranker at once: enough for its threads, few enough for the bar to move."""


def build_reranker(settings: RunSettings, model: RetrievalModule, dataset: RetrievalDataset) -> Reranker | None:
    """The re-ranker of a run, or None.

    Raises:
        InputError: one that needs what the method does not give.
    """
    name = settings.rerank.name
    if name is None:
        return None
    needs = getattr(RERANKERS.get(name), "needs", "descriptors")
    given = {"descriptors": True, "local features": model.has_local_features, "feature maps": model.has_feature_maps}
    if needs not in given:
        raise InputError(fault_of(RERANKERS.get(name), f"has an {nearest(str(needs), given, noun='value of needs')}"))
    if not given[needs]:
        able = "delg" if needs == "local features" else "cvnet"
        raise InputError(
            f"re-ranker {name!r} compares {needs}, which method {settings.method!r} has not; use {able}, or rerank=none"
        )
    options = settings.rerank.options
    known = RERANKERS.options(name)
    if "model" in known:
        options["model"] = model
    if "ground_truth" in known and options.get("protocol") == "published":
        options["ground_truth"] = dataset.ground_truth
    if "junk_rows" in known and options.get("junk", "keep") != "keep":
        options["junk_rows"] = [entry.get("junk", []) for entry in dataset.ground_truth]
    return create_reranker(name, **options)


def rerank(state: RunState, reranker: Reranker, ranking: Ranking, queries: Any, database: Any) -> LevelRankings:
    """Re-rank a few queries at a time, so that progress shows; level by level where ground truth chooses candidates."""
    state.reranked = min(int(getattr(reranker, "top_k", ranking.k)), ranking.k)
    state.ground_truth_used = reranker.uses_ground_truth
    columns = (TextColumn("[bold]re-rank"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        state.timed("re-ranking", per="pair", count=len(ranking) * state.reranked),
        Progress(*columns, console=state.console, disable=state.console.quiet) as bar,
    ):
        task = bar.add_task("", total=len(ranking))
        if reranker.uses_ground_truth:
            # It belongs to the queries by their rows, so they go in together.
            whole = queries if reranker.needs == "descriptors" else Watched(queries, partial(bar.advance, task))
            by_level = getattr(reranker, "by_level", None)
            if by_level is not None:
                return LevelRankings(**by_level(ranking, whole, database))
            return LevelRankings.same(reranked(reranker, ranking, whole, database))
        parts = []
        for start in range(0, len(ranking), AT_ONCE):
            few = slice(start, start + AT_ONCE)
            some = Ranking(ranking.indices[few], ranking.scores[few])
            parts.append(reranked(reranker, some, queries[few], database))
            bar.advance(task, len(parts[-1]))
    joined = Ranking(torch.cat([part.indices for part in parts]), torch.cat([part.scores for part in parts]))
    return LevelRankings.same(joined)


@dataclass(frozen=True)
class Watched:
    """Queries that tell each time one is looked at, which a re-ranker does once for each.

    Attributes:
        entries: the queries.
        seen: called without arguments.
    """

    entries: Sequence[Any]
    seen: Callable[[], object]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, row: int) -> Any:
        self.seen()
        return self.entries[row]


def verifier(reranker: Reranker, queries: Any, database: Any) -> Callable[[int, int], tuple[Points, Points]] | None:
    """Gives the verified keypoints of a (query, database row) pair, where the re-ranker matches keypoints."""
    check = getattr(reranker, "verify", None)
    if check is None:
        return None

    def verify(query: int, row: int) -> tuple[Points, Points]:
        asked, known = queries[query], database[row]
        found = check(asked, known)
        pairs = found.matches[found.inlier_mask]
        return asked.keypoints[pairs[:, 0]].tolist(), known.keypoints[pairs[:, 1]].tolist()

    return verify
