import csv
import io
import re

import pytest

from retrieval_bench.reporting.cells import Cell, Column, Table
from retrieval_bench.reporting.paste import paste_csv, paste_latex, paste_markdown
from retrieval_bench.reporting.tables import map_table, precision_table
from retrieval_bench.settings.record import Level

UNPAIRED_DOLLAR = re.compile(r"(?<!\\)\$")


def markdown_cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells]


@pytest.mark.parametrize("make_table", [map_table, precision_table])
def test_markdown_parses_back_to_the_table(make_record, make_table):
    table = make_table(make_record())
    lines = paste_markdown(table).splitlines()
    assert {len(markdown_cells(line)) for line in lines[: 2 + len(table.rows)]} == {len(table.columns)}
    assert set(markdown_cells(lines[1])) == {":---", "---:"}
    for line, row in zip(lines[2:], table.rows, strict=False):
        assert markdown_cells(line) == [cell.plain for cell in row]


@pytest.mark.parametrize("make_table", [map_table, precision_table])
def test_latex_parses_back_to_the_table(make_record, make_table):
    table = make_table(make_record())
    text = paste_latex(table)
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    assert re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1] == "l" + "r" * (len(table.columns) - 1)
    body = text[text.index(r"\midrule") + len(r"\midrule") : text.index(r"\bottomrule")]
    rows = [row.strip() for row in body.split(r"\\") if row.strip()]
    for line, row in zip(rows, table.rows, strict=True):
        cells = [re.sub(r"\{\\scriptsize (.*)\}", r"\1", cell.strip()) for cell in line.split(" & ")]
        assert cells == [cell.plain for cell in row]


def test_latex_headings_span_all_columns(make_record):
    text = paste_latex(precision_table(make_record()))
    assert [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", text)] == [3, 3, 3]
    assert re.findall(r"\\cmidrule\(lr\)\{(\d+-\d+)\}", text) == ["2-4", "5-7", "8-10"]


def test_special_letters_survive():
    name = r"50% of $x_1$ & {a} | #2 \ ~ ^ <b> *bold* `code`"
    table = Table("t", (Column("Run", numeric=False), Column("mAP")), ((Cell(name, mark=" (a)"), Cell("—")),))
    assert markdown_cells(paste_markdown(table).splitlines()[2]) == [f"{name} (a)", "—"]
    row = paste_latex(table).splitlines()[-3]
    assert row.startswith(
        r"50\% of \$x\_1\$ \& \{a\} \textbar{} \#2 \textbackslash{} \textasciitilde{} \textasciicircum{} "
    )
    assert row.endswith(r"$^{a}$ & -- \\")
    assert len(UNPAIRED_DOLLAR.findall(row)) == 2


def test_the_best_is_bold():
    table = Table("t", (Column("Run", numeric=False), Column("mAP")), ((Cell("x"), Cell("1.00", "[0, 2]", best=True)),))
    assert r"x & \textbf{1.00} {\scriptsize [0, 2]} \\" in paste_latex(table)
    assert paste_markdown(table).splitlines()[2] == "| x | **1.00** [0, 2] |"


@pytest.mark.parametrize("name", ["[mine] GeM", "*GeM"])
def test_a_name_that_latex_would_take_for_an_argument_of_the_row_before(name):
    table = Table("t", (Column("Run", numeric=False),), ((Cell("x"),), (Cell(name),)))
    assert paste_latex(table).splitlines()[-3] == rf"{{}}{name} \\"


def test_csv_has_a_line_per_figure_in_full_precision(make_record, make_stage):
    empty = Level(map=None, interval=None, precision_at={1: None}, queries=0)
    record = make_record(title='a, "b"', stages=[make_stage(), make_stage("reranked", hard=empty)])
    rows = list(csv.DictReader(io.StringIO(paste_csv([record]))))
    found = {(row["stage"], row["level"], row["metric"]): row for row in rows}
    assert len(found) == len(rows) == 5 * 4 + 2
    for stage in record.stages:
        for name, level in stage.levels.items():
            value = found[stage.name, name, "map"]["value"]
            assert (float(value) if value else None) == level.map
    assert found["global", "easy", "map"]["low"] == repr(record.stages[0].levels["easy"].interval[0])
    assert found["reranked", "hard", "map"]["low"] == ""
    assert rows[0]["title"] == 'a, "b"'
