"""Mean and spread over seeds, against figures by hand."""

import csv
import io

import pytest

from retrieval_bench.reporting.paste import paste_latex, paste_markdown
from retrieval_bench.reporting.study_page import StudyRun, render_study, study_summary
from retrieval_bench.reporting.study_table import StudyRow, runs_csv, spread, study_csv, study_table
from retrieval_bench.settings.record import Cost, Level


def level(value):
    return Level(map=value, interval=None, precision_at={}, queries=5)


@pytest.fixture
def make_row(make_record, make_stage):
    def make(label, values, wanted=3, p_values=(), **changes):
        records = {
            seed: make_record(
                run_id=f"{label}-{seed}",
                stages=[make_stage(easy=level(value + 0.1), medium=level(value), hard=level(None))],
                costs=[Cost(name="training", value=10 * (seed + 1), unit="s")],
                **changes,
            )
            for seed, value in enumerate(values)
        }
        return StudyRow({"pooling": label}, records, wanted, p_values)

    return make


def test_spread_by_hand():
    one = spread([0.2, 0.3, 0.7])
    assert one.mean == pytest.approx(0.4)
    assert one.deviation == pytest.approx((0.14 / 2) ** 0.5)  # squares 0.04 + 0.01 + 0.09 over n - 1
    assert spread([0.5]).deviation is None
    assert spread([None, float("nan")]).mean is None
    assert spread([None, 0.5, 0.7]).count == 2


def test_a_row_holds_mean_deviation_p_seeds_and_costs(make_row):
    rows = [make_row("gem", [0.2, 0.3, 0.7], p_values=[None]), make_row("mac", [0.5], p_values=[0.0004])]
    table = study_table("Tried", rows, ["A note."])
    heads = [f"{column.group} {column.name}".strip() for column in table.columns]
    assert heads == ["Pooling", "mAP Easy", "mAP Medium", "mAP Hard", "vs first p", "Seeds", "Train s"]
    assert [cell.plain for cell in table.rows[0]] == ["gem", "50.00 ± 26.46", "40.00 ± 26.46", "—", "—", "3", "20"]
    assert [cell.plain for cell in table.rows[1]] == ["mac", "60.00", "50.00", "—", "<0.001", "1 of 3", "10"]
    assert "A note." in table.notes


def test_rows_without_a_run_stand_in_the_table(make_row):
    table = study_table("Tried", [make_row("gem", [0.2]), make_row("mac", [])])
    assert [cell.plain for cell in table.rows[1]] == ["mac", "—", "—", "—", "0 of 3", "—"]
    assert study_table("Nothing", [make_row("mac", [])]).rows[0][-1].plain == "0 of 3"


def test_figures_of_other_protocols_and_warnings_are_marked(make_row, make_card):
    other = make_card(whitening="pca", warnings=["tuned on the test"])
    rows = [make_row("gem", [0.2, 0.3]), make_row("mac", [0.4], card=other)]
    table = study_table("Tried", rows)
    assert table.rows[1][0].mark == " (a !)"
    assert "(a) not comparable: whitening pca instead of none" in table.notes
    assert "! mac: tuned on the test" in table.notes
    same = study_table("Tried", [make_row(name, [0.2], card=other) for name in ("gem", "mac")])
    assert "! all rows: tuned on the test" in same.notes


def test_several_datasets_and_stages_have_columns(make_record, make_card):
    two = make_record(dataset="roxford5k", card=make_card(dataset="roxford5k"))
    rows = [StudyRow({"pooling": "gem"}, {0: make_record()}, 1), StudyRow({"pooling": "gem"}, {0: two}, 1)]
    table = study_table("Tried", rows)
    assert [column.name for column in table.columns][:3] == ["Pooling", "Dataset", "Ranking"]
    assert [row[2].text for row in table.rows] == ["before re-ranking", "after re-ranking"] * 2
    assert not any(row[0].mark for row in table.rows)


def test_csv_keeps_full_precision(make_row):
    rows = [make_row("gem", [0.2, 0.3, 0.7], p_values=[0.25])]
    (line,) = csv.DictReader(io.StringIO(study_csv(rows)))
    assert float(line["map_medium_std"]) == (0.14 / 2) ** 0.5 or float(line["map_medium_std"]) == pytest.approx(
        0.2645751311064591, rel=1e-14
    )
    assert (line["map_hard_mean"], line["p"], line["seeds"], line["training (s) std"]) == ("", "0.25", "3", "10.0")
    runs = list(csv.DictReader(io.StringIO(runs_csv(rows, {"gem-1": "runs/x/gem-1"}))))
    assert [(run["seed"], run["map_medium"], run["run"]) for run in runs][1] == ("1", "0.3", "runs/x/gem-1")


def test_it_pastes(make_row):
    table = study_table("Tried", [make_row("gem", [0.2, 0.3])])
    assert r"$\pm$ 7.07" in paste_latex(table)
    assert "| gem | 35.00 ± 7.07 | 25.00 ± 7.07 |" in paste_markdown(table)


def test_the_page_stands_alone_and_escapes(make_row):
    rows = [make_row("<b>gem", [0.2, 0.3]), make_row("mac", [])]
    runs = [
        StudyRun("<b>gem, seed 0", "recorded", "mAP 20", "../a/report.html"),
        StudyRun("mac", "failed", "broke & co"),
    ]
    page = render_study("A <study>", "grid: {}", study_table("Tried", rows), rows, runs)
    assert "<b>gem" not in page
    assert 'href="../a/report.html"' in page
    assert "1 of 2 runs are missing" in page
    assert "broke &amp; co" in page
    assert "<svg" in page
    assert "http" not in page
    assert study_summary(rows, runs).startswith(
        "Largest mean of Medium mAP on synthetic: 25.00 ± 7.07 (<b>gem; seeds: 2)"
    )
