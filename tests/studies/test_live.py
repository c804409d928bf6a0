"""The display of a running study."""

import io
from pathlib import Path

from rich.console import Console

from retrieval_bench.studies.job import Job, Outcome
from retrieval_bench.studies.live import Progress


def job(name: str, folder: Path) -> Job:
    nowhere = {"parent": folder, "lock": folder / "lock", "folder": folder}
    return Job(name=name, digest=name, command=[], log=folder / f"{name}.txt", gpu=False, **nowhere)


def test_a_terminal_shows_what_runs_and_what_it_says(tmp_path):
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    gem, mac = job("gem[0]", tmp_path), job("mac", tmp_path)
    gem.log.write_text("epoch 1/9, loss 2.5\n")
    with Progress(console, "tried", total=9, recorded=4, workers=2) as progress:
        progress.started(gem)
        progress.started(mac)
        progress.refresh()
        progress.ended(mac, Outcome("done", seconds=120))
        progress.refresh()
        progress.ended(gem, Outcome("failed", "it broke"))
        progress.refresh()
    said = console.file.getvalue()
    assert "tried: 4 of 9 runs recorded, 2 running" in said
    assert "epoch 1/9, loss 2.5" in said
    assert "starting" in said
    assert "[5/9] done    mac (120 s)" in said
    assert "5 of 9 runs recorded, 1 running, about 4 min left" in said
    assert "[6/9] failed  gem[0]: it broke; log: " in said
    assert "1 failed" in said


def test_without_a_terminal_only_what_ended_is_told(tmp_path):
    console = Console(file=io.StringIO(), width=100)
    one = job("gem", tmp_path)
    with Progress(console, "tried", total=1, recorded=0, workers=1) as progress:
        progress.started(one)
        progress.refresh()
        progress.ended(one, Outcome("done", seconds=3))
    assert console.file.getvalue() == "[1/1] done    gem (3 s)\n"
