"""A finished run on disk, read for the report."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.record import Gallery, RunRecord, read_record


@dataclass(frozen=True)
class RunFolder:
    """What a run left behind.

    Attributes:
        folder: where it is.
        record: its `record.json`.
        per_query: its `per_query.parquet` with `query` as index, None where the run wrote none.
        gallery: its `gallery.json`, None where the run wrote none.
    """

    folder: Path
    record: RunRecord
    per_query: pd.DataFrame | None
    gallery: Gallery | None


def read_run_folder(folder: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        InputError: no record there, or a file of the run that cannot be read.
    """
    record = read_record(folder)
    return RunFolder(folder, record, _per_query(folder / "per_query.parquet"), _gallery(folder / "gallery.json"))


def _per_query(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is no parquet file ({_first_line(error)}); run it again") from error
    if "query" not in table.columns:
        raise InputError(f"{path} has no column 'query'; run it again")
    return table.set_index("query")


def _gallery(path: Path) -> Gallery | None:
    if not path.is_file():
        return None
    try:
        return Gallery.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not a gallery of this version ({_first_line(error)}); run it again") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
