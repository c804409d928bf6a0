from retrieval_bench.reporting.cells import interval, percent
from retrieval_bench.reporting.tables import (
    card_warnings,
    comparison_table,
    costs_table,
    groups_table,
    map_table,
    precision_table,
    probability,
    published_table,
)
from retrieval_bench.settings.record import LEVELS, Level, Published


def test_map_table_holds_the_figures_of_the_record(make_record):
    record = make_record()
    table = map_table(record)
    assert [row[0].text for row in table.rows] == ["before re-ranking", "after re-ranking"]
    for row, stage in zip(table.rows, record.stages, strict=True):
        for cell, level in zip(row[1:], LEVELS, strict=True):
            assert cell.text == percent(stage.levels[level].map)
            assert cell.aside == interval(stage.levels[level].interval)
    assert table.rows[0][1].text == "71.23"
    assert table.rows[0][1].aside == "[66.91, 75.11]"
    assert any("12 easy, 11 medium, 10 hard" in note for note in table.notes)


def test_precision_table_holds_every_cut_of_every_level(make_record):
    record = make_record()
    table = precision_table(record)
    assert [column.name for column in table.columns[1:]] == ["@1", "@5", "@10"] * 3
    expected = [record.stages[1].levels[level].precision_at[cut] for level in LEVELS for cut in (1, 5, 10)]
    assert [cell.text for cell in table.rows[1][1:]] == [percent(value) for value in expected]


def test_a_level_without_queries_is_a_dash(make_record, make_stage):
    empty = Level(map=None, interval=None, precision_at={1: None}, queries=0)
    record = make_record(stages=[make_stage(hard=empty)])
    cell = map_table(record).rows[0][3]
    assert (cell.text, cell.aside) == ("—", "")
    assert map_table(record).rows[0][0].text == "global, no re-ranking"
    assert [cell.text for cell in precision_table(record).rows[0][7:]] == ["—", "—", "—"]


def test_groups_are_rows_and_stages_columns(make_record, make_stage):
    rows = groups_table(make_record()).rows
    assert [[cell.text for cell in row] for row in rows] == [
        ["facades", "60.00", "63.00"],
        ["towers", "40.00", "43.00"],
    ]
    assert groups_table(make_record(stages=[make_stage().model_copy(update={"groups": {}})])) is None


def test_costs_keep_their_units(make_record):
    assert [[cell.text for cell in row] for row in costs_table(make_record()).rows] == [
        ["training", "153.2", "s"],
        ["descriptor store", "3,276,800", "bytes"],
        ["re-ranking per pair", "0.0432", "ms"],
    ]


def test_published_and_measured_have_columns_of_their_own(make_record):
    table = published_table(make_record())
    heads = [column.name for column in table.columns]
    published, measured = heads.index("Published mAP"), heads.index("This run's mAP")
    other, same = table.rows
    assert (other[published].text, other[measured].text) == ("76.54", "—")
    assert (same[published].text, same[measured].text) == ("40.00", "31.23")
    assert same[-1].text == "Notes & <data>"
    assert published_table(make_record(published=[])) is None


def test_a_published_stage_that_was_not_run_has_no_measured_figure(make_record, make_stage):
    figure = Published(dataset="synthetic", level="medium", stage="reranked", map=0.5, variant="R50", source="Paper")
    table = published_table(make_record(stages=[make_stage()], published=[figure]))
    assert table.rows[0][4].text == "—"


def test_comparable_runs_carry_no_mark(make_record):
    table = comparison_table([make_record(), make_record(title="GeM")])
    assert len(table.rows) == 4
    assert not any(cell.mark for row in table.rows for cell in row)
    assert not any("comparable" in note for note in table.notes)


def test_differing_cards_are_marked_and_the_difference_named(make_record, make_card):
    odd = make_record(title="GeM", card=make_card(truncated_at=100))
    table = comparison_table([odd, make_record(), make_record(title="DOLG")])
    assert [row[0].mark for row in table.rows] == [" (a)", " (a)", "", "", "", ""]
    assert "(a) not comparable: truncated_at 100 instead of none" in table.notes


def test_equal_differences_share_a_letter_and_others_do_not(make_record, make_card):
    usual = [make_record(title=title) for title in "xyz"]
    cut = [make_record(title=title, card=make_card(truncated_at=100)) for title in "pq"]
    white = make_record(title="w", card=make_card(whitening="PCA"))
    marks = [row[0].mark for row in comparison_table([*usual, *cut, white]).rows[::2]]
    assert marks == ["", "", "", " (a)", " (a)", " (b)"]


def test_two_datasets_get_a_column_and_a_mark(make_record, make_card):
    other = make_record(dataset="roxford5k", card=make_card(dataset="roxford5k"))
    table = comparison_table([make_record(), other])
    assert [row[1].text for row in table.rows] == ["synthetic", "synthetic", "roxford5k", "roxford5k"]
    assert table.rows[2][0].mark == " (a)"


def test_warnings_reach_the_comparison(make_record, make_card):
    leaking = make_record(card=make_card(ground_truth_in_candidates=True, warnings=["tuned on the test queries"]))
    assert len(card_warnings(leaking)) == 2
    record_says = make_card(
        ground_truth_in_candidates=True, warnings=["ground truth chose which candidates were re-ranked", "other"]
    )
    assert len(card_warnings(make_record(card=record_says))) == 2
    table = comparison_table([leaking, make_record(title="GeM")])
    assert table.rows[0][0].mark == " (!)"
    assert "! DELG ResNet-18: tuned on the test queries" in table.notes
    assert any("ground truth chose" in note for note in table.notes)


def test_an_empty_comparison_is_an_empty_table():
    assert comparison_table([]).rows == ()


def test_a_protocol_of_its_own_is_told_from_another_task(make_record, make_card):
    usual = [make_record(title=title) for title in "xyz"]
    protocol = make_card().protocol.model_copy(update={"scales": (0.5, 1.0)})
    scales = make_record(title="own", card=make_card(protocol=protocol))
    notes = comparison_table([*usual, scales]).notes
    assert any(note.startswith("(a) under a protocol of its own: protocol.scales 0.5, 1 instead of") for note in notes)


def test_the_form_of_pixels_is_no_difference(make_record, make_card):
    protocol = make_card().protocol.model_copy(update={"channel_order": "bgr", "mean": (0.5, 0.5, 0.5)})
    odd = make_record(title="odd", card=make_card(protocol=protocol))
    assert not any(cell.mark for row in comparison_table([odd, make_record()]).rows for cell in row)


def test_p_values_have_a_column_and_a_note(make_record, make_stage):
    records = [make_record(stages=[make_stage()]), make_record(title="GeM", stages=[make_stage()])]
    table = comparison_table(records, [[None], [0.00004]])
    column = [column.name for column in table.columns].index("p")
    assert [row[column].text for row in table.rows] == ["—", "<0.001"]
    assert any("Holm" in note for note in table.notes)
    assert [probability(p) for p in (0.001, 0.0499, 1.0)] == ["0.001", "0.050", "1.000"]
    assert "p" not in [column.name for column in comparison_table(records).columns]


def test_missing_runs_are_named_in_the_notes(make_record):
    table = comparison_table([make_record()], missing=["cfcd: out of memory"])
    assert table.notes[-1] == "Missing: cfcd: out of memory"
    assert not any("Missing" in note for note in comparison_table([make_record()]).notes)


def bold(table):
    return [[cell.text for cell in row if cell.best] for row in table.rows]


def test_the_best_of_comparable_rows_is_bold(make_record, make_stage, make_card):
    low, high = (make_record(title=title, stages=[make_stage(shift=shift)]) for title, shift in (("x", 0), ("y", 0.1)))
    assert bold(comparison_table([low, high])) == [[], ["81.23", "61.23", "41.23", "71.23", "66.23", "61.23"]]
    cut = high.model_copy(update={"card": make_card(truncated_at=100)})
    helped = high.model_copy(
        update={"card": make_card(ground_truth_in_candidates=True), "stages": [make_stage("reranked", 0.2)]}
    )
    for other in (cut, helped):
        table = comparison_table([low, low.model_copy(update={"title": "z"}), other])
        assert bold(table)[-1] == []
        assert len(bold(table)[0]) == 6
    assert bold(comparison_table([low])) == [[]]


def test_a_comparison_names_its_dataset_and_protocol(make_record):
    table = comparison_table([make_record(), make_record(title="GeM")])
    assert table.title == "Runs side by side on synthetic"
    (line,) = [note for note in table.notes if note.startswith("Protocol: ")]
    for fact in ("ground truth 0123456789ab)", "12 queries, 400 database images", "256 px", "0.7071, 1, 1.414", "all"):
        assert fact in line


def test_a_warning_of_all_rows_is_said_once(make_record, make_card):
    warned = [make_record(title=title, card=make_card(warnings=["untrained"])) for title in "xy"]
    assert [note for note in comparison_table(warned).notes if note.startswith("!")] == ["! all rows: untrained"]
