"""Is a run better than another? Tests over the queries of finished runs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from retrieval_bench.evaluation import paired_permutation_test
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.record import RunRecord, read_record


def p_values(folders: Sequence[Path], *, seed: int = 0) -> list[list[float | None]]:
    """p of every stage of every run against the first stage of the first run, by Medium AP of the queries.

    Two-sided paired permutation tests, corrected for their number after Holm (1979): p is small only where a
    difference would be rare among all of these comparisons together.

    Args:
        folders: of finished runs.
        seed: of the permutations.

    Returns:
        per run, per stage; None for the reference itself and for runs on other queries or another ground truth.

    Raises:
        InputError: a folder holds no finished run.
    """
    return p_values_over_seeds([[folder] for folder in folders], seed=seed)


def p_values_over_seeds(rows: Sequence[Sequence[Path]], *, seed: int = 0) -> list[list[float | None]]:
    """As `p_values`, where a row has been run with several seeds: of each query, the mean AP over them is tested.

    The unit of the test are the queries. How much seeds differ is no part of it; that stands beside the mean as a
    deviation.

    Args:
        rows: per row, the folders of its finished runs; none where it has none.
        seed: of the permutations.

    Returns:
        per row, per stage; None also for rows whose own runs have different queries or ground truths.

    Raises:
        InputError: a folder holds no finished run.
    """
    means = [_mean_aps(folders) for folders in rows]
    reference = next((number for number, one in enumerate(means) if one is not None), None)
    values: list[list[float | None]] = [[None] * len(read_record(row[0]).stages) if row else [] for row in rows]
    if reference is None or means[reference] is None:
        return values
    digest, (against, *_) = means[reference]  # type: ignore[misc]
    found: list[tuple[int, int, float]] = []
    for row, one in enumerate(means):
        if one is None or one[0] != digest:
            continue
        for stage, aps in enumerate(one[1]):
            if (row, stage) == (reference, 0):
                continue
            try:
                test = paired_permutation_test(aps, against, np.random.default_rng(seed))
            except InputError:  # a query without pixels was left out of one of them
                continue
            found.append((row, stage, test.p_value))
    least = 0.0
    for rank, (row, stage, p) in enumerate(sorted(found, key=lambda one: one[2])):
        least = max(least, min(1.0, (len(found) - rank) * p))
        values[row][stage] = least
    return values


def _mean_aps(folders: Sequence[Path]) -> tuple[str, list[np.ndarray]] | None:
    """Ground truth and, per stage, each query's mean AP over runs; None where the runs are not of one kind."""
    records = [read_record(folder) for folder in folders]
    kinds = {(record.card.ground_truth_digest, tuple(stage.name for stage in record.stages)) for record in records}
    aps = [_aps(folder, record) for folder, record in zip(folders, records, strict=True)]
    if len(kinds) != 1 or len({tuple(len(values) for values in one) for one in aps}) != 1:
        return None
    return records[0].card.ground_truth_digest, [np.mean(stage, axis=0) for stage in zip(*aps, strict=True)]


def _aps(folder: Path, record: RunRecord) -> list[np.ndarray]:
    table = pd.read_parquet(folder / "per_query.parquet")
    return [table[f"{stage.name}/ap_medium"].to_numpy() for stage in record.stages]
