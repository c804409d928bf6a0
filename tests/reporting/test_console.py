import io
import subprocess
import sys

import pytest
from rich.console import Console

from retrieval_bench.reporting.cells import percent
from retrieval_bench.reporting.console import print_record, side_by_side


def printed(*things: object, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    for thing in things:
        console.print(thing)
    return console.file.getvalue()


def printed_record(record, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_record(record, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 160])
def test_every_figure_is_printed_whole(make_record, width):
    record = make_record()
    text = printed_record(record, width)
    for stage in record.stages:
        for level in stage.levels.values():
            assert percent(level.map) in text
            assert f"[{percent(level.interval[0])}, {percent(level.interval[1])}]" in text
            assert all(percent(value) in text for value in level.precision_at.values())
    assert "153.2" in text
    assert "76.54" in text
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text.replace("0123456789ab…", "").replace("fedcba987654…", "")
    assert text.count("re-ranking") >= 2 * len(record.stages)


def test_warnings_stand_out(make_record, make_card):
    text = printed_record(make_record(card=make_card(warnings=["tuned on the test queries"])))
    assert "Warnings: read before quoting" in text
    assert "! tuned on the test queries" in text
    assert "Warnings" not in printed_record(make_record())


def test_names_are_not_read_as_markup(make_record, make_card):
    record = make_record(title="[bold]x[/bold] [/]", card=make_card(warnings=["[red]leak[/red]"]))
    text = printed_record(record)
    assert "[bold]x[/bold] [/]" in text
    assert "[red]leak[/red]" in text


def test_side_by_side_marks_differing_cards_and_names_the_difference(make_record, make_card):
    odd = make_record(title="GeM", card=make_card(whitening="learnt on SfM-120k"))
    text = printed(side_by_side([make_record(), make_record(title="DOLG"), odd]), width=140)
    assert "GeM (a)" in text
    assert "(a) not comparable: whitening learnt on SfM-120k instead of none" in text
    assert "DOLG (" not in text


def test_side_by_side_keeps_figures_whole_on_a_narrow_console(make_record):
    record = make_record()
    text = printed(side_by_side([record, make_record(title="GeM")]), width=80)
    assert "…" not in text
    for stage in record.stages:
        for level in stage.levels.values():
            assert text.count(percent(level.map)) >= 2
            assert all(text.count(percent(bound)) == 2 for bound in level.interval)


def test_the_console_needs_no_torch_and_no_plots():
    code = (
        "import sys, retrieval_bench.reporting.console as c; "
        "assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
