"""Tables as text to paste elsewhere: Markdown, LaTeX with booktabs, CSV."""

import csv
import io
import re
from collections.abc import Sequence

from retrieval_bench.reporting.cells import NOTHING, Cell, Table
from retrieval_bench.settings.record import RunRecord

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "→": r"$\rightarrow$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "…": r"\dots{}",
    "±": r"$\pm$",
    NOTHING: "--",
}


def paste_markdown(table: Table) -> str:
    """The table in GitHub's Markdown; intervals stay in the cell, an upper heading becomes a prefix."""
    heads = [f"{column.group} {column.name}".strip() for column in table.columns]
    lines = [
        _markdown_row([_markdown_text(head) for head in heads]),
        _markdown_row(["---:" if column.numeric else ":---" for column in table.columns]),
        *(_markdown_row([_markdown_cell(cell) for cell in row]) for row in table.rows),
    ]
    if table.notes:
        lines += ["", *(f"{_markdown_text(note)}  " for note in table.notes)]
    return "\n".join(lines) + "\n"


def paste_latex(table: Table) -> str:
    """The table as a `tabular` for the booktabs package; notes become comments above it."""
    lines = [f"% {line}" for note in (table.title, *table.notes) for line in note.splitlines()]
    lines.append(r"\begin{tabular}{" + "".join("r" if column.numeric else "l" for column in table.columns) + "}")
    lines.append(r"\toprule")
    if table.grouped:
        heads, rules, start = [], [], 1
        for group, span in table.groups:
            heads.append(rf"\multicolumn{{{span}}}{{c}}{{{_latex_text(group)}}}" if group else "")
            if group:
                rules.append(rf"\cmidrule(lr){{{start}-{start + span - 1}}}")
            start += span
        lines += [" & ".join(heads) + r" \\", " ".join(rules)]
    lines.append(" & ".join(_latex_text(column.name) for column in table.columns) + r" \\")
    lines.append(r"\midrule")
    lines += [_latex_row([_latex_cell(cell) for cell in row]) for row in table.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def paste_csv(records: Sequence[RunRecord]) -> str:
    """Every figure on a line of its own, as fractions in full precision; empty where there is none.

    Columns: run_id, title, dataset, stage, level, metric, value, low, high, queries.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["run_id", "title", "dataset", "stage", "level", "metric", "value", "low", "high", "queries"])
    for record in records:
        for stage in record.stages:
            for name, level in stage.levels.items():
                place = [record.run_id, record.title, record.dataset, stage.name, name]
                low, high = level.interval or (None, None)
                writer.writerow([*place, "map", level.map, low, high, level.queries])
                for cut, value in sorted(level.precision_at.items()):
                    writer.writerow([*place, f"mp@{cut}", value, None, None, level.queries])
    return out.getvalue()


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\|*_`<])", r"\\\1", " ".join(text.split()))


def _markdown_cell(cell: Cell) -> str:
    text = _markdown_text(cell.plain)
    return text.replace(cell.text, f"**{cell.text}**", 1) if cell.best else text


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def _latex_row(cells: Sequence[str]) -> str:
    line = " & ".join(cells)
    # After the row before, a bracket would be the space to skip and a star would forbid a page break.
    return ("{}" if line.startswith(("[", "*")) else "") + line + r" \\"


def _latex_cell(cell: Cell) -> str:
    mark = f"$^{{{_latex_text(cell.mark.strip(' ()'))}}}$" if cell.mark else ""
    aside = rf" {{\scriptsize {_latex_text(cell.aside)}}}" if cell.aside else ""
    text = _latex_text(cell.text)
    return (rf"\textbf{{{text}}}" if cell.best else text) + mark + aside
