"""Build the pictures and ground truth into a folder that appears whole or not at all."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import retrieval_bench
from retrieval_bench.data.synthetic.labels import relation
from retrieval_bench.data.synthetic.plan import RENDERER_VERSION, Options, Stream, generator, tasks
from retrieval_bench.data.synthetic.render import Record
from retrieval_bench.data.synthetic.worker import render_tasks

PARTIAL = ".partial-"
STALE_AFTER = 24 * 3600.0
"""Seconds after which the leftovers of a killed build are removed."""


def build(root: Path, options: Options, workers: int) -> Path:
    """Build a dataset into ``root/<digest>`` and return that folder.

    Work happens in a hidden folder beside it, renamed at the end. Where two processes build at once, the first to
    finish wins and the other takes what is there.

    Args:
        workers: processes that render; 1 renders in this one. The bytes do not depend on it.
    """
    target = root / options.digest()
    root.mkdir(parents=True, exist_ok=True)
    _remove_stale(root)
    partial = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{target.name}-", dir=root))
    try:
        (partial / "jpg").mkdir()
        records = _render_all(options, partial / "jpg", workers)
        _write_json(partial / "gnd.json", ground_truth(options, records))
        _write_json(partial / "views.json", [record.to_json() for record in records])
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        digests = {path.relative_to(partial).as_posix(): digest_of(path) for path in files}
        manifest = {"renderer": RENDERER_VERSION, "options": asdict(options), "sha256": digests}
        _write_json(partial / "manifest.json", manifest)
        partial.chmod(0o755)
        try:
            partial.rename(target)
        except OSError:
            if not (target / "manifest.json").is_file():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def ground_truth(options: Options, records: list[Record]) -> dict[str, Any]:
    """The ground truth in the Revisited structure: ``gnd`` (bbx, easy, hard, junk per query), ``imlist``, ``qimlist``.

    Names have no ending. The database is shuffled by the seed, so that its order tells nothing.
    """
    queries = [record for record in records if record.role == "query"]
    database = [record for record in records if record.role == "database"]
    order = generator(options, Stream.ORDER).permutation(len(database))
    database = [database[row] for row in order]
    entries = []
    for query in queries:
        entry: dict[str, list[Any]] = {"bbx": list(query.box or ()), "easy": [], "hard": [], "junk": []}
        for row, record in enumerate(database):
            found = relation(query.view, record.view)
            if found != "negative":
                entry[found].append(row)
        entries.append(entry)
    return {
        "gnd": entries,
        "imlist": [record.name for record in database],
        "qimlist": [record.name for record in queries],
    }


def digest_of(path: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _render_all(options: Options, folder: Path, workers: int) -> list[Record]:
    total = sum(task.views for task in tasks(options))
    console = Console(stderr=True)
    columns = (TextColumn("rendering synthetic"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    records: list[Record] = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=total)
        for finished in render_tasks(options, folder) if workers == 1 else _from_processes(options, folder, workers):
            records += finished
            progress.advance(bar, len(finished))
    return sorted(records, key=lambda record: record.name)


def _from_processes(options: Options, folder: Path, workers: int) -> Iterator[list[Record]]:
    package_root = str(Path(retrieval_bench.__file__).parents[1])
    search = os.pathsep.join(part for part in (package_root, os.environ.get("PYTHONPATH", "")) if part)
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    lines: SimpleQueue[str | int] = SimpleQueue()

    def forward(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(process.wait())

    with ExitStack() as stack:
        for first in range(workers):
            command = [sys.executable, "-m", "retrieval_bench.data.synthetic.worker"]
            command += [str(folder.resolve()), json.dumps(asdict(options)), str(first), str(workers)]
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stdin=subprocess.DEVNULL,
                    text=True,
                    env=environment,
                    process_group=0,
                )
            )
            stack.callback(process.kill)
            threading.Thread(target=forward, args=(process,), daemon=True).start()
        running = workers
        while running:
            line = lines.get()
            if isinstance(line, str):
                yield [Record.from_json(value) for value in json.loads(line)]
            elif line == 0:
                running -= 1
            else:
                raise RuntimeError(f"a rendering process of dataset 'synthetic' ended with code {line}; see above")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, sort_keys=True) + "\n", encoding="utf-8")


def _remove_stale(root: Path) -> None:
    for leftover in root.glob(f"{PARTIAL}*"):
        try:
            age = time.time() - leftover.stat().st_mtime
        except FileNotFoundError:
            continue
        if age > STALE_AFTER:
            shutil.rmtree(leftover, ignore_errors=True)
