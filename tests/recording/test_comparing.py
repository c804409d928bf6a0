"""Tests between finished runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrieval_bench.evaluation import paired_permutation_test
from retrieval_bench.recording.comparing import p_values, p_values_over_seeds
from retrieval_bench.settings.card import ProtocolCard
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.record import RunRecord, Stage

QUERIES = 40
RNG = np.random.default_rng(0)
BASE = RNG.uniform(0.2, 0.8, QUERIES)
BETTER = BASE + RNG.uniform(0.05, 0.15, QUERIES)
SLIGHTLY = BASE + RNG.normal(0.01, 0.05, QUERIES)
SAME = BASE + RNG.normal(0, 0.05, QUERIES)


def finished(folder: Path, digest: str = "g", **stages: np.ndarray) -> Path:
    """A run folder with the files that the tests read."""
    card = ProtocolCard(
        dataset="drawn",
        images="drawn",
        ground_truth_digest=digest,
        queries=QUERIES,
        database=9,
        protocol=Protocol(),
        query_crop="none",
        search="exact",
        train_set="none",
        weights="none",
        weights_digest="0",
    )
    record = RunRecord(
        run_id=folder.name,
        title=folder.name,
        method="gem",
        parts={},
        dataset="drawn",
        created="2026-01-01",
        stages=[Stage(name=name, levels={}) for name in stages],
        costs=[],
        card=card,
        provenance={},
    )
    folder.mkdir()
    record.write(folder)
    table = pd.DataFrame({f"{name}/ap_medium": aps for name, aps in stages.items()})
    table.to_parquet(folder / "per_query.parquet")
    return folder


def test_every_stage_is_tested_against_the_first_and_corrected_after_holm(tmp_path):
    folders = [
        finished(tmp_path / "first", **{"global": BASE, "reranked": BETTER}),
        finished(tmp_path / "second", **{"global": SLIGHTLY}),
        finished(tmp_path / "third", **{"global": SAME}),
    ]
    plain = [paired_permutation_test(aps, BASE, np.random.default_rng(0)).p_value for aps in (BETTER, SLIGHTLY, SAME)]
    order = np.argsort(plain)
    expected, least = [0.0] * 3, 0.0
    for rank, which in enumerate(order):
        least = max(least, min(1.0, (3 - rank) * plain[which]))
        expected[which] = least
    (reference, reranked), (slightly,), (same,) = p_values(folders)
    assert reference is None
    assert [reranked, slightly, same] == pytest.approx(expected)
    assert reranked < 0.001 < same


def test_other_ground_truth_or_queries_are_not_tested(tmp_path):
    folders = [
        finished(tmp_path / "first", **{"global": BASE}),
        finished(tmp_path / "other", digest="h", **{"global": BETTER}),
        finished(tmp_path / "fewer", **{"global": BETTER[:-1]}),
    ]
    assert p_values(folders) == [[None], [None], [None]]


def test_an_unfinished_run(tmp_path):
    with pytest.raises(InputError, match=r"no record\.json"):
        p_values([tmp_path])


def test_over_seeds_the_mean_ap_of_each_query_is_tested(tmp_path):
    rows = [
        [finished(tmp_path / "a0", **{"global": BASE}), finished(tmp_path / "a1", **{"global": BASE + 0.02})],
        [finished(tmp_path / "b0", **{"global": SLIGHTLY}), finished(tmp_path / "b1", **{"global": SAME})],
        [finished(tmp_path / "c0", digest="h", **{"global": BETTER})],
        [],
        [finished(tmp_path / "d0", **{"global": BASE}), finished(tmp_path / "d1", digest="h", **{"global": BASE})],
    ]
    expected = paired_permutation_test((SLIGHTLY + SAME) / 2, BASE + 0.01, np.random.default_rng(0)).p_value
    assert p_values_over_seeds(rows) == [[None], [pytest.approx(expected)], [None], [], [None]]
    assert p_values_over_seeds([[], []]) == [[], []]
