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
    records = [read_record(folder) for folder in folders]
    reference, against = records[0], _aps(folders[0], records[0])[0]
    found: list[tuple[int, int, float]] = []
    values: list[list[float | None]] = [[None] * len(record.stages) for record in records]
    for run, (folder, record) in enumerate(zip(folders, records, strict=True)):
        if record.card.ground_truth_digest != reference.card.ground_truth_digest:
            continue
        for stage, aps in enumerate(_aps(folder, record)):
            if (run, stage) == (0, 0):
                continue
            try:
                test = paired_permutation_test(aps, against, np.random.default_rng(seed))
            except InputError:  # a query without pixels was left out of one of them
                continue
            found.append((run, stage, test.p_value))
    least = 0.0
    for rank, (run, stage, p) in enumerate(sorted(found, key=lambda one: one[2])):
        least = max(least, min(1.0, (len(found) - rank) * p))
        values[run][stage] = least
    return values


def _aps(folder: Path, record: RunRecord) -> list[np.ndarray]:
    table = pd.read_parquet(folder / "per_query.parquet")
    return [table[f"{stage.name}/ap_medium"].to_numpy() for stage in record.stages]
