"""The CSV of a user's own images: one row per image, columns by name."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.values.dataset import Box

SPLITS = ("test", "train", "validation", "query", "database")


@dataclass(frozen=True)
class LabelledImage:
    """One image: its name, file and label, what it is for, the box that counts, and the kind it is reported under."""

    name: str
    path: Path
    label: str
    split: str = "test"
    box: Box | None = None
    group: str = ""


@dataclass(frozen=True)
class Columns:
    """What the columns are called. `split` and `box` may be absent from the file; `group` is read only if it is set."""

    image: str = "image"
    label: str = "label"
    split: str = "split"
    box: tuple[str, str, str, str] = ("x0", "y0", "x1", "y1")
    group: str | None = None


def read_label_table(table: Path, images: Path, columns: Columns, groups: Path | None = None) -> list[LabelledImage]:
    """The rows of a CSV (UTF-8, comma, first line names the columns).

    Args:
        table: the file.
        images: the folder to which image names are relative.
        columns: what they are called.
        groups: a second CSV with a row per label that holds `columns.group`; None looks for that column in `table`.

    Raises:
        InputError: no such file, a column is missing, or a cell is empty or wrong; the line is named.
    """
    rows = _rows(table)
    header = rows[0][1]
    needed = [columns.image, columns.label] + ([columns.group] if columns.group and groups is None else [])
    for column in needed:
        _require_column(column, header, table)
    boxed = [column for column in columns.box if column in header]
    if boxed and len(boxed) != 4:
        absent = next(column for column in columns.box if column not in header)
        raise InputError(f"{table} has the box column {boxed[0]!r} but no {absent!r}; a box needs {columns.box}")
    kinds = _groups(groups, columns) if groups is not None and columns.group else None
    found = []
    for line, cells in rows[1:]:
        row = dict(zip(header, cells, strict=False))
        if len(cells) != len(header):
            raise InputError(
                f"{table}, line {line}: {len(cells)} cells for {len(header)} columns; quote commas in names"
            )
        name, label = row[columns.image], row[columns.label]
        if not name or not label:
            raise InputError(f"{table}, line {line}: the {'image' if not name else 'label'} is empty")
        split = row.get(columns.split, "") or "test"
        if split not in SPLITS:
            raise InputError(f"{table}, line {line}: {nearest(split, SPLITS, noun='split')}")
        box = _box([row[column] for column in columns.box], table, line) if boxed else None
        group = row[columns.group] if columns.group and kinds is None else (kinds or {}).get(label, "")
        found.append(LabelledImage(name, images / name, label, split, box, group))
    return found


def _rows(table: Path) -> list[tuple[int, list[str]]]:
    """Line numbers and cells, the header first, empty lines left out."""
    if not table.is_file():
        raise InputError(f"the table {table} does not exist; give csv= relative to the root")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{table} is not a CSV in UTF-8 ({error})") from error
    if len(rows) < 2:
        raise InputError(f"{table} has no rows; it needs a line of column names and one per image")
    return rows


def _groups(table: Path, columns: Columns) -> dict[str, str]:
    rows = _rows(table)
    header = rows[0][1]
    for column in (columns.label, str(columns.group)):
        _require_column(column, header, table)
    label, group = header.index(columns.label), header.index(str(columns.group))
    if short := next((line for line, cells in rows if len(cells) != len(header)), None):
        raise InputError(f"{table}, line {short}: not as many cells as columns")
    return {cells[label]: cells[group] for _, cells in rows[1:]}


def _require_column(column: str, header: Sequence[str], table: Path) -> None:
    if column not in header:
        raise InputError(f"{table}: {nearest(column, header, noun='column')}; name yours with <kind>_column=")


def _box(cells: Sequence[str], table: Path, line: int) -> Box | None:
    if not any(cells):
        return None
    try:
        x0, y0, x1, y1 = (float(cell) for cell in cells)
    except ValueError:
        raise InputError(f"{table}, line {line}: the box {tuple(cells)} is not four numbers") from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or x0 >= x1 or y0 >= y1:
        raise InputError(f"{table}, line {line}: the box {(x0, y0, x1, y1)} is empty; it needs x0 < x1 and y0 < y1")
    return x0, y0, x1, y1
