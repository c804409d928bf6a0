import pytest

from retrieval_bench.reporting.cells import Cell, Column, Table, interval, percent, quantity


@pytest.mark.parametrize(
    ("fraction", "printed"),
    [(0.712345, "71.23"), (1.0, "100.00"), (0.0, "0.00"), (None, "—"), (float("nan"), "—")],
)
def test_percent_has_two_decimals_and_a_dash_for_nothing(fraction, printed):
    assert percent(fraction) == printed


def test_interval_is_in_percent_and_empty_where_there_is_none():
    assert interval((0.1, 0.23456)) == "[10.00, 23.46]"
    assert interval(None) == ""
    assert interval((float("nan"), 0.2)) == ""


@pytest.mark.parametrize(
    ("value", "printed"),
    [(153.24, "153.2"), (3_276_800.0, "3,276,800"), (0.04321, "0.0432"), (2.0, "2"), (1.234, "1.23"), (0.0, "0")],
)
def test_quantity_keeps_about_three_digits(value, printed):
    assert quantity(value) == printed


@pytest.mark.parametrize(("value", "printed"), [(float("nan"), "—"), (float("inf"), "inf")])
def test_quantity_of_what_is_no_number(value, printed):
    assert quantity(value) == printed


def test_groups_join_neighbours_only():
    columns = (Column("Run"), Column("E", "mAP"), Column("M", "mAP"), Column("@1", "mP"), Column("x", "mAP"))
    table = Table("", columns, ())
    assert table.groups == [("", 1), ("mAP", 2), ("mP", 1), ("mAP", 1)]
    assert table.grouped
    assert not Table("", (Column("a"),), ()).grouped


def test_plain_joins_text_mark_and_aside():
    assert Cell("5.00", "[4.00, 6.00]", " (a)").plain == "5.00 (a) [4.00, 6.00]"
