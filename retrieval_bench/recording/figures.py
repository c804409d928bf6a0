"""Evaluation results -> the stages of a record and its per-query table."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from retrieval_bench.evaluation import Result, bootstrap_interval
from retrieval_bench.settings.record import LEVELS, Level, Stage


def stage(name: str, result: Result, groups: Sequence[str], resamples: int, seed: int) -> Stage:
    """The figures of one ranking, with bootstrap intervals over queries.

    Args:
        name: ``global`` or ``reranked``.
        result: of `evaluate`.
        groups: of each query, or empty.
        resamples: of the bootstrap; 0 leaves intervals out.
        seed: of the bootstrap; both stages of a run draw the same queries.
    """
    levels = {}
    for level in LEVELS:
        values = result.per_query[f"ap_{level}"].to_numpy()
        interval = None
        if resamples and result.queries[level]:
            interval = bootstrap_interval(values, np.random.default_rng(seed), resamples=resamples)
        levels[level] = Level(
            map=_known(getattr(result, f"map_{level}")),
            interval=interval,
            precision_at={k: _known(value) for k, value in result.mean_precision_at[level].items()},
            queries=result.queries[level],
        )
    means: dict[str, float | None] = {}
    if groups:
        grouped = result.per_query["ap_medium"].groupby(np.asarray(groups)).mean()
        means = {str(group): _known(value) for group, value in grouped.items()}
    return Stage(name=name, levels=levels, groups=means)


def per_query_table(names: Sequence[str], groups: Sequence[str], results: Mapping[str, Result]) -> pd.DataFrame:
    """A row per query: name, group, counts, and the figures of every stage as ``<stage>/ap_easy`` ...

    Args:
        names: of the queries.
        groups: of each query, or empty.
        results: by stage name, in order.
    """
    table = pd.DataFrame({"query": list(names), "group": list(groups) or [""] * len(names)})
    counts = ["n_easy", "n_hard", "n_junk"]
    first = next(iter(results.values())).per_query.reset_index(drop=True)
    table[counts] = first[counts]
    for name, result in results.items():
        figures = result.per_query.reset_index(drop=True).drop(columns=counts)
        table = pd.concat([table, figures.add_prefix(f"{name}/")], axis=1)
    return table


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
