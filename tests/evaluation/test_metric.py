"""The metric against an oracle that sorts, deletes and walks, and over several processes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.evaluation import RevisitedMetric, evaluate, evaluate_scores
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import Ranking

KAPPAS = (1, 3, 5)
NEGATIVE, EASY, HARD, JUNK = range(4)


def oracle(scores, labels, depth):
    """Figures of one query: make the list, delete what is ignored, walk down the precision-recall curve."""
    listed = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:depth]
    figures = {}
    for level, good in {"easy": {EASY}, "medium": {EASY, HARD}, "hard": {HARD}}.items():
        total = sum(label in good for label in labels)
        relevant = [labels[row] in good for row in listed if labels[row] in good | {NEGATIVE}]
        area, recall, precision, hits = 0.0, 0.0, 1.0, 0
        for place, hit in enumerate(relevant, start=1):
            hits += hit
            new_recall, new_precision = hits / max(total, 1), hits / place
            area += (new_recall - recall) * (precision + new_precision) / 2
            recall, precision = new_recall, new_precision
        while relevant and not relevant[-1]:
            relevant.pop()
        figures[f"ap_{level}"] = area if total else np.nan
        for k in KAPPAS:
            figures[f"p{k}_{level}"] = float(np.mean(relevant[:k] or [0])) if total else np.nan
    return figures


@st.composite
def cases(draw):
    database = draw(st.integers(1, 24))
    queries = draw(st.integers(1, 4))
    # Few different values, so that most queries have ties; half of them are not above zero.
    score = st.sampled_from([-1.5, -1.0, -0.0, 0.0, 0.25, 1.0]) | st.floats(-2, 2, width=32)
    scores = [draw(st.lists(score, min_size=database, max_size=database)) for _ in range(queries)]
    label = st.sampled_from([NEGATIVE, NEGATIVE, EASY, HARD, JUNK])
    labels = [draw(st.lists(label, min_size=database, max_size=database)) for _ in range(queries)]
    return scores, labels, draw(st.integers(1, database)), draw(st.integers(1, database + 3)), draw(st.randoms())


def ground_truth(labels):
    return [
        {name: [row for row, label in enumerate(query) if label == kind] for name, kind in
         (("easy", EASY), ("hard", HARD), ("junk", JUNK))}
        for query in labels
    ]  # fmt: skip


def assert_figures(result, expected):
    table = pd.DataFrame(expected)
    np.testing.assert_allclose(result.per_query[table.columns], table, rtol=1e-12, atol=1e-15)


@given(case=cases())
@settings(max_examples=300, deadline=None)
def test_every_way_of_counting_equals_the_oracle(case):
    scores, labels, depth, chunk, chance = case
    truth, matrix = ground_truth(labels), torch.tensor(scores, dtype=torch.float32)
    whole = [oracle(query, kinds, len(query)) for query, kinds in zip(scores, labels, strict=True)]
    cut = [oracle(query, kinds, depth) for query, kinds in zip(scores, labels, strict=True)]

    assert_figures(evaluate_scores(matrix, truth, kappas=KAPPAS, chunk=chunk), whole)
    order = matrix.sort(dim=1, descending=True, stable=True)
    assert_figures(evaluate(order.indices[:, :depth], truth, kappas=KAPPAS), cut)
    assert_figures(evaluate(Ranking(order.indices, order.values), truth, kappas=KAPPAS), whole)

    # Chunks in any order, counted by two metrics whose states are then added, as processes do.
    size = matrix.shape[1]
    parts = [RevisitedMetric(truth, KAPPAS, size) for _ in range(2)]
    starts = list(range(0, size, chunk))
    chance.shuffle(starts)
    for metric in parts:
        metric.set_positive_scores(matrix[:, metric.positive_rows])
    for start in starts:
        chance.choice(parts).update(matrix[:, start : start + chunk], start)
    for state in ("negatives_above", "found", "rows_seen"):
        setattr(parts[0], state, getattr(parts[0], state) + getattr(parts[1], state))
    parts[0]._update_count = 1  # the first may have got no chunk of its own; torchmetrics would warn
    assert_figures(parts[0].compute(), whole)


def random_case(seed=0, queries=5, database=400):
    generator = np.random.default_rng(seed)
    labels = generator.choice(4, size=(queries, database), p=[0.85, 0.05, 0.05, 0.05])
    scores = torch.from_numpy(generator.integers(-50, 50, size=(queries, database))).float()
    return scores, ground_truth(labels)


def started_metric(scores, truth, **options):
    metric = RevisitedMetric(truth, **options)
    metric.set_positive_scores(scores[:, metric.positive_rows])
    return metric


def test_two_processes_equal_one(tmp_path):
    scores, truth = random_case()
    torch.save({"scores": scores, "truth": truth}, tmp_path / "case.pt")
    script = Path(__file__).with_name("count_in_process.py")
    workers = [
        subprocess.Popen([sys.executable, script, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for worker in workers:
        _, complaint = worker.communicate(timeout=120)
        assert worker.returncode == 0, complaint
    expected = evaluate_scores(scores, truth).per_query
    for rank in range(2):
        assert pd.read_pickle(tmp_path / f"per_query_{rank}.pkl").equals(expected)


def test_state_is_small_and_does_not_grow():
    scores, truth = random_case()
    metric = started_metric(scores, truth)
    before = {name: state.shape for name, state in metric.metric_state.items()}
    for start in range(0, 400, 20):
        metric.update(scores[:, start : start + 20], start)
    assert {name: state.shape for name, state in metric.metric_state.items()} == before
    assert {state.dtype for state in metric.metric_state.values()} == {torch.int64}


def test_reset_starts_again_with_other_scores():
    scores, truth = random_case()
    metric = started_metric(scores, truth)
    metric.update(scores)
    first = metric.compute()
    metric.reset()
    metric.set_positive_scores(-scores[:, metric.positive_rows])
    metric.update(-scores)
    assert not metric.compute().per_query.equals(first.per_query)
    metric.reset()
    metric.set_positive_scores(scores[:, metric.positive_rows])
    metric.update(scores[:, 100:], 100)
    metric.update(scores[:, :100], 0)
    assert metric.compute().per_query.equals(first.per_query)


def test_it_survives_cloning_and_saving():
    scores, truth = random_case()
    metric = started_metric(scores, truth)
    metric.update(scores[:, :200], 0)
    copy = metric.clone()
    copy.update(scores[:, 200:], 200)
    assert copy.compute().per_query.equals(evaluate_scores(scores, truth).per_query)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_scores_on_the_gpu():
    scores, truth = random_case()
    metric = RevisitedMetric(truth).to("cuda")
    metric.set_positive_scores(scores[:, metric.positive_rows].cuda())
    metric.update(scores[:, :150].cuda(), 0)
    metric.update(scores[:, 150:].cuda(), 150)
    assert metric.negatives_above.device.type == "cuda"
    assert metric.compute().per_query.equals(evaluate_scores(scores, truth).per_query)


def refused(action):
    with pytest.raises(InputError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_wrong_use_is_named_in_one_line():
    scores, truth = random_case()
    assert "call set_positive_scores before" in refused(lambda: RevisitedMetric(truth).update(scores))
    metric = started_metric(scores, truth, database_size=400)
    assert "with 5 queries as in the ground truth, got (4, 400)" in refused(lambda: metric.update(scores[:4]))
    assert "outside the database of 400" in refused(lambda: metric.update(scores, 1))
    columns = len(metric.positive_rows)
    assert f"column per row of positive_rows, {columns}" in refused(lambda: metric.set_positive_scores(scores[:, :1]))
    bad = scores.clone()
    bad[3, 7] = float("nan")
    assert "score of query 3 at database row 7 is NaN" in refused(lambda: metric.update(bad))


def test_rows_left_out_or_counted_twice_are_noticed():
    scores, truth = random_case()
    last = max(int(row) for entry in truth for row in entry["easy"] + entry["hard"])
    short = started_metric(scores, truth)
    short.update(scores[:, :last])
    assert f"names row {last}, which was in no chunk" in refused(short.compute)
    short.update(scores[:, last:], last)
    assert short.compute().map_medium > 0
    twice = started_metric(scores, truth)
    twice.update(scores)
    twice.update(scores[:, :last], 0)
    assert "was counted twice for query" in refused(twice.compute)
    lacking = started_metric(scores, [{"easy": [0], "hard": []}] * 5, database_size=400)
    lacking.update(scores[:, :300])
    assert "300 database rows were counted but the database has 400" in refused(lacking.compute)
    changed = started_metric(scores, truth)
    changed.update(scores)
    assert "call reset()" in refused(lambda: changed.set_positive_scores(scores[:, changed.positive_rows]))
