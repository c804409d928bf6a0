"""What a study leaves behind: its table on paper, in files and on a page, made of the records of its runs alone."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import yaml

from retrieval_bench.recording.comparing import p_values_over_seeds
from retrieval_bench.reporting.cells import Table, percent
from retrieval_bench.reporting.paste import paste_latex, paste_markdown
from retrieval_bench.reporting.study_page import StudyRun, render_study
from retrieval_bench.reporting.study_plot import last_map
from retrieval_bench.reporting.study_table import StudyRow, runs_csv, study_csv, study_table
from retrieval_bench.settings.record import LEVELS, RunRecord, read_record
from retrieval_bench.settings.whole_file import write_text
from retrieval_bench.studies.definition import Study
from retrieval_bench.studies.journal import Entry, Journal
from retrieval_bench.studies.misfits import left_out
from retrieval_bench.studies.plan import Plan


@dataclass(frozen=True)
class Results:
    """The table of a study and the files that hold it.

    Attributes:
        table: a line per row.
        report: the page.
        runs: that were made or recorded already, and those that failed.
    """

    table: Table
    report: Path
    runs: int


def write_results(study: Study, plan: Plan, folder: Path, journal: Journal) -> Results:
    """Write ``table.csv``, ``table.md``, ``table.tex``, ``runs.csv``, ``study.yaml`` and ``report.html`` into `folder`.

    Args:
        study: as read.
        plan: its rows and runs; those that are not recorded are named as missing, rows without any as left out.
        folder: of the study.
        journal: of how runs ended.
    """
    folders = {run.digest: run.folder for run in plan.runs}
    records = {digest: read_record(place) for digest, place in folders.items() if place is not None}
    tested = p_values_over_seeds(
        [[place for run in plan.of_row(number) if (place := folders[run.digest])] for number in range(len(plan.rows))]
    )
    by_row = [
        StudyRow(
            row.labels,
            {run.settings.seed: records[run.digest] for run in plan.of_row(number) if run.digest in records},
            len(plan.of_row(number)),
            tested[number] if len(plan.rows) > 1 else (),
        )
        for number, row in enumerate(plan.rows)
    ]
    rows = [row for number, row in enumerate(by_row) if row.records or number not in plan.left_out]
    entries = journal.latest()
    runs = []
    for run in plan.runs:
        place, entry = folders[run.digest], entries.get(run.digest)
        if place is not None:
            link = quote(Path(os.path.relpath(place / "report.html", folder)).as_posix())
            runs.append(StudyRun(run.name, "recorded", _figures(records[run.digest]), link))
        elif run.row in plan.left_out:
            runs.append(StudyRun(run.name, "left out", plan.left_out[run.row]))
        elif entry is not None and entry.state == "failed":
            runs.append(StudyRun(run.name, "failed", entry.reason))
        else:
            runs.append(StudyRun(run.name, "not run"))
    table = study_table(study.title or f"Study {study.name}", rows, _notes(runs, entries, plan))
    places = {record.run_id: str(folders[digest]) for digest, record in records.items()}
    values = study.model_dump(mode="json", exclude_defaults=True)
    definition = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    for name, content in (
        ("study.yaml", definition),
        ("table.csv", study_csv(rows)),
        ("table.md", paste_markdown(table)),
        ("table.tex", paste_latex(table)),
        ("runs.csv", runs_csv(rows, places)),
        ("report.html", render_study(study.title or study.name, definition, table, rows, runs)),
    ):
        write_text(folder / name, content)
    return Results(table, folder / "report.html", len(plan.wanted))


def _notes(runs: Sequence[StudyRun], entries: dict[str, Entry], plan: Plan) -> list[str]:
    workers = {entry.workers for run in plan.runs if (entry := entries.get(run.digest)) and entry.state == "done"}
    notes = [
        f"Missing: {run.name}: {run.said or run.state}." for run in runs if run.state not in ("recorded", "left out")
    ]
    notes += left_out(plan.rows, plan.left_out)
    if max(workers, default=1) > 1:
        notes.append(f"Times were measured with up to {max(workers)} runs at a time; alone a run is faster.")
    return notes


def _figures(record: RunRecord) -> str:
    return "mAP " + ", ".join(f"{percent(last_map(record, level))} {level}" for level in LEVELS)
