"""Tables come out whole in a pipe, in a narrow terminal and in a wide one."""

import io
import sys

import pytest
import rich.table
from rich.console import Console
from rich.text import Text

from retrieval_bench.reporting.cells import percent
from retrieval_bench.reporting.console import print_record, side_by_side
from retrieval_bench.reporting.terminal import PROSE, output, print_prose, print_table


def printed(table: rich.table.Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_table(console, table)
    return console.file.getvalue()


def figures(record) -> list[str]:
    levels = [level for stage in record.stages for level in stage.levels.values()]
    known = [percent(value) for level in levels for value in (level.map, *level.interval)]
    return known + [percent(value) for stage in record.stages for value in stage.levels["medium"].precision_at.values()]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_figure_of_a_comparison_is_cut(make_record, width):
    record = make_record(title="GeM resnet50, pooling of_a_rather_long_name, loss curricularface")
    text = printed(side_by_side([record, make_record()], [[None, 0.0123], [0.5, 0.25]]), width)
    assert all(text.count(figure) >= 2 for figure in figures(record))
    assert all(word in text.split() for word in ("0.012", "0.500", "0.250", "@1", "@5", "@10", "Medium"))
    assert "…" not in text


def test_a_narrow_terminal_gets_every_figure_of_a_record(make_record):
    record, console = make_record(), Console(file=io.StringIO(), width=30)
    print_record(record, console)
    text = console.file.getvalue()
    assert all(figure in text for figure in figures(record))
    assert "3,276,800" in text


def test_digests_and_names_go_on_in_the_next_line():
    table = rich.table.Table("what", "found")
    table.add_row("digest", "0123456789abcdef" * 4)
    text = printed(table, 40)
    assert max(map(len, text.splitlines())) <= 40
    folded = "".join(line.split("│")[2].strip() for line in text.splitlines() if line.startswith("│"))
    assert folded == "0123456789abcdef" * 4


def test_a_table_that_can_fit_does():
    """rich alone narrows the columns of words below their longest word, and then runs over."""
    table = rich.table.Table(padding=0, box=None)
    for heading in ("of some short words", "of a_word_of_20_letters and others"):
        table.add_column(heading)
    for _ in range(3):
        table.add_column("12.34", justify="right", no_wrap=True)
    console = Console(file=io.StringIO(), width=45)
    print_table(console, table, indent=2)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 45
    assert "a_word_of_20_letters" in console.file.getvalue()
    assert all(line.startswith("  ") for line in lines)


def test_columns_that_do_not_wrap_are_never_cut():
    table = rich.table.Table()
    table.add_column("name", no_wrap=True)
    table.add_column("text")
    table.add_row(Text("a name of several words"), Text("words " * 30))
    assert "a name of several words" in printed(table, 20)


def test_a_pipe_has_no_width(make_record, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    record = make_record(title="GeM resnet50, pooling of_a_rather_long_name, loss curricularface, batch attention none")
    print_table(output(), side_by_side([record]))
    lines = sys.stdout.getvalue().splitlines()
    (row,) = [line for line in lines if line.startswith(record.title) and "before" in line]
    assert all(percent(value) in row for value in record.stages[0].levels["medium"].precision_at.values())
    assert max(map(len, lines)) < 400


def test_columns_are_obeyed_in_a_pipe(monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert output().width == 77


def test_sentences_wrap_in_a_pipe_too(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    print_prose(output(), Text("some words " * 40), indent=2)
    lines = sys.stdout.getvalue().splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= PROSE
