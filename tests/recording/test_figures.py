"""Stages of a record and the per-query table, from an evaluated ranking."""

import math

import numpy as np
import pandas as pd
import pytest

from retrieval_bench.evaluation import bootstrap_interval, evaluate
from retrieval_bench.recording.figures import per_query_table, stage
from retrieval_bench.settings.record import Stage


@pytest.fixture
def result(make_dataset, ranking):
    return evaluate(ranking, make_dataset().ground_truth, database_size=8)


def test_a_stage_holds_the_result(result):
    made = stage("global", result, (), resamples=50, seed=3)
    assert made.name == "global"
    assert list(made.levels) == ["easy", "medium", "hard"]
    assert made.levels["easy"].map == result.map_easy
    assert made.levels["medium"].map == result.map_medium
    assert made.levels["hard"].map == result.map_hard
    assert {level: made.levels[level].queries for level in made.levels} == {"easy": 2, "medium": 2, "hard": 1}
    assert made.levels["medium"].precision_at == result.mean_precision_at["medium"]
    assert made.groups == {}


def test_intervals_come_from_the_seed_and_hold_the_mean(result):
    made = stage("global", result, (), resamples=200, seed=3).levels["medium"]
    expected = bootstrap_interval(result.per_query["ap_medium"].to_numpy(), np.random.default_rng(3), resamples=200)
    assert made.interval == pytest.approx(expected)
    assert made.interval[0] <= made.map <= made.interval[1]


def test_no_resamples_no_interval(result):
    assert all(level.interval is None for level in stage("global", result, (), 0, 0).levels.values())


def test_a_level_without_positives_has_no_figures(make_dataset, ranking):
    nothing = {"easy": [], "hard": [], "junk": []}
    truth = [nothing | {"easy": [0]}, nothing, nothing]
    made = stage("global", evaluate(ranking, truth, database_size=8), (), resamples=20, seed=0)
    hard = made.levels["hard"]
    assert (hard.map, hard.interval, hard.queries) == (None, None, 0)
    assert set(hard.precision_at.values()) == {None}
    assert Stage.model_validate_json(made.model_dump_json()) == made


def test_groups_are_medium_means_over_their_queries(result, make_dataset):
    made = stage("global", result, make_dataset().query_groups, 0, 0)
    values = result.per_query["ap_medium"]
    assert made.groups["near"] == pytest.approx((values[0] + values[2]) / 2)
    assert made.groups["far"] is None, "its one query has no positives"


def test_columns_of_the_table(result, make_dataset):
    dataset = make_dataset()
    table = per_query_table(dataset.queries.names, dataset.query_groups, {"global": result, "reranked": result})
    assert list(table.columns[:5]) == ["query", "group", "n_easy", "n_hard", "n_junk"]
    figures = [f"ap_{level}" for level in ("easy", "medium", "hard")]
    figures += [f"p{k}_{level}" for k in result.kappas for level in ("easy", "medium", "hard")]
    assert set(table.columns[5:]) == {f"{name}/{figure}" for name in ("global", "reranked") for figure in figures}
    assert len(table.columns) == len(set(table.columns))
    assert table["query"].tolist() == ["q0", "q1", "d2"]
    assert table["group"].tolist() == ["near", "far", "near"]
    assert table[["n_easy", "n_hard", "n_junk"]].to_numpy().tolist() == [[2, 1, 1], [0, 0, 0], [1, 0, 1]]
    assert math.isnan(table["global/ap_easy"][1])
    pd.testing.assert_series_equal(table["global/ap_medium"], result.per_query["ap_medium"], check_names=False)


def test_the_table_survives_the_file(result, make_dataset, tmp_path):
    table = per_query_table(make_dataset().queries.names, (), {"global": result})
    assert table["group"].tolist() == ["", "", ""]
    table.to_parquet(tmp_path / "per_query.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "per_query.parquet"), table, check_dtype=False)


def test_the_row_labels_of_a_result_do_not_matter(result, make_dataset):
    expected = per_query_table(make_dataset().queries.names, (), {"global": result})
    result.per_query.index = [7, 3, 5]
    found = per_query_table(make_dataset().queries.names, (), {"global": result})
    pd.testing.assert_frame_equal(found, expected)
