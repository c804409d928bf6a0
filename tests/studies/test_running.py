"""Whole studies of quick runs: what is skipped, what survives, what is said."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import dump
from retrieval_bench.studies.lock import give_up, take
from retrieval_bench.studies.running import RunsFailedError, run_study

STAND_IN = Path(__file__).with_name("make_run.py")
GRID = {"pooling": ["gem", "mac"]}
STARTED = {
    "settings": {"backbone": {"name": "resnet10t", "weights": "trained:start"}},
    "grid": GRID,
    "trained": {"start": {"method": "delg"}},
}


def shown(console) -> str:
    return console.file.getvalue()


def folders(root: Path) -> list[Path]:
    return sorted(root.glob("runs/synthetic/gem/*"))


def first_run(root: Path) -> Path:
    (folder,) = root.glob("runs/synthetic/delg/*")
    return folder


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_run_is_an_ordinary_one_and_is_made_once(ask, quick_runs, console):
    asked = ask(grid=GRID, seeds=[0, 1])
    results, failed = run_study(asked, "local", 2, console)
    assert failed == 0
    made = folders(quick_runs)
    assert {folder.name.rpartition("-")[2] for folder in made} == {run.digest for run in asked.plan().runs}
    assert all((folder / "log.txt").read_text().startswith("epoch 1/1") for folder in made)
    kept = {path.name for path in (quick_runs / "runs/studies/tried").iterdir()}
    assert {"table.csv", "table.md", "table.tex", "runs.csv", "report.html", "study.yaml", "journal.jsonl"} <= kept
    assert results.report.is_file()
    assert shown(console).count("done    ") == 4

    run_study(asked, "local", 2, console)
    assert folders(quick_runs) == made
    assert "all runs were recorded before" in shown(console)
    run_study(ask(grid={"pooling": ["gem", "mac", "spoc"]}, seeds=[0]), "local", 2, console)
    assert len(folders(quick_runs)) == 5


def test_two_workers_run_at_a_time_and_share_the_cores(ask, quick_runs, console, monkeypatch, when):
    monkeypatch.setattr("retrieval_bench.studies.engines.local.cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    gate = quick_runs / "gate"
    when(lambda: len(list(quick_runs.glob("runs/synthetic/gem/*/pid"))) == 2, gate.touch)
    wait = {"model.does": "wait", "model.until": str(gate)}
    _, failed = run_study(ask(settings=wait, grid=GRID), "local", 2, console)
    assert failed == 0
    assert ["threads 3" in (folder / "log.txt").read_text() for folder in folders(quick_runs)] == [True, True]


def test_a_run_that_fails_is_recorded_and_the_rest_goes_on(ask, quick_runs, console):
    grid = {"model.does": ["fail", "refuse", "die", "finish"]}
    results, failed = run_study(ask(grid=grid), "local", 2, console)
    assert failed == 3
    said = shown(console)
    assert "failed  fail, seed 0: ValueError: it broke; log: " in said
    assert "refuse, seed 0: no such thing; did you mean 'thing'; log: " in said
    assert "die, seed 0: killed by SIGKILL (out of memory?); its last line: epoch 1/1" in said
    notes = " ".join(results.table.notes)
    assert "Missing: fail, seed 0: ValueError: it broke." in notes
    assert [row[4].text for row in results.table.rows] == ["0 of 1", "0 of 1", "0 of 1", "1"]
    page = results.report.read_text()
    assert "3 of 4 runs are missing" in page
    run_study(ask(grid=grid), "local", 2, console)
    assert (shown(console).count("failed  "), shown(console).count("done    ")) == (6, 1)


def test_a_failure_that_is_mended_is_no_failure_any_more(ask, quick_runs, console, when):
    grid = {"pooling": ["gem"]}
    asked = ask(settings={"model.does": "wait", "model.until": "gate"}, grid=grid)
    when(lambda: folders(quick_runs) and (folders(quick_runs)[0] / "pid").is_file(), lambda: kill_all(quick_runs))
    _, failed = run_study(asked, "local", 1, console)
    assert failed == 1
    (quick_runs / "gate").mkdir()
    results, failed = run_study(asked, "local", 1, console)
    assert failed == 0
    assert not [note for note in results.table.notes if "Missing" in note]
    assert len(folders(quick_runs)) == 1  # it went on in its own folder


def kill_all(root: Path) -> None:
    for pid in root.glob("runs/synthetic/gem/*/pid"):
        if not (pid.parent / "record.json").exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_killed_worker_does_not_lose_the_others(ask, quick_runs, console, when):
    grid = {"model.does": ["wait", "finish"]}
    asked = ask(settings={"model.until": "never"}, grid=grid)
    runs = quick_runs / "runs/synthetic/gem"
    ready = lambda: list(runs.glob("*/record.json")) and len(list(runs.glob("*/pid"))) == 2  # noqa: E731
    when(ready, lambda: kill_all(quick_runs))
    results, failed = run_study(asked, "local", 2, console)
    assert failed == 1
    assert "wait, seed 0: killed by SIGKILL" in shown(console)
    assert results.table.rows[1][0].text == "finish"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_running_and_the_same_command_goes_on(ask, quick_runs, console, number, when):
    asked = ask(settings={"model.does": "wait", "model.until": "gate"}, grid=GRID)
    pids = quick_runs / "runs/synthetic/gem"
    when(lambda: len(list(pids.glob("*/pid"))) == 2, lambda: os.kill(os.getpid(), number))
    with pytest.raises(KeyboardInterrupt):
        run_study(asked, "local", 2, console)
    assert not any(alive(int(pid.read_text())) for pid in pids.glob("*/pid"))
    (quick_runs / "gate").mkdir()
    _, failed = run_study(asked, "local", 2, console)
    assert failed == 0
    assert len(folders(quick_runs)) == 2


def test_a_run_that_another_process_makes_is_waited_for_and_not_repeated(ask, quick_runs, console):
    asked = ask(grid={"pooling": ["gem"]})
    (run,) = asked.plan().runs
    handle = take(quick_runs / "runs/studies/.locks" / run.digest)
    assert handle is not None

    def made_by_another() -> None:
        config = quick_runs / f"{run.digest}.yaml"
        config.write_text(dump(run.settings))
        subprocess.run([sys.executable, str(STAND_IN), str(config)], check=True, cwd=quick_runs)
        give_up(handle)

    threading.Timer(0.5, made_by_another).start()
    _, failed = run_study(asked, "local", 1, console)
    assert failed == 0
    assert len(folders(quick_runs)) == 1
    assert not (folders(quick_runs)[0] / "log.txt").exists()


def test_one_process_at_a_time_runs_a_study(ask, quick_runs, console):
    handle = take(quick_runs / "runs/studies/.locks/tried.study")
    with pytest.raises(InputError, match="another process runs study 'tried'"):
        run_study(ask(grid=GRID), "local", 1, console)
    give_up(handle)


def test_runs_start_from_one_that_is_trained_first(ask, quick_runs, console):
    _, failed = run_study(ask(**STARTED), "local", 2, console)
    assert failed == 0
    (start,) = quick_runs.glob("runs/synthetic/delg/*")
    weights = {(folder / "checkpoints/final.ckpt").read_text() for folder in folders(quick_runs)}
    assert weights == {f"runs/synthetic/delg/{start.name}/checkpoints/final.ckpt"}
    run_study(ask(**STARTED), "local", 2, console)
    assert len(folders(quick_runs)) == 2


def test_what_starts_from_a_run_is_made_again_when_that_run_came_out_otherwise(ask, quick_runs, console):
    run_study(ask(**STARTED), "local", 2, console)
    before = folders(quick_runs)
    # The stand-in's checkpoint holds what its backbone started from.
    other = {**STARTED, "trained": {"start": {"method": "delg", "backbone.weights": "other"}}}
    _, failed = run_study(ask(**other), "local", 2, console)
    assert failed == 0
    made = {run.folder for run in ask(**other).plan().runs}
    assert len(made) == 2
    assert {quick_runs / folder for folder in made}.isdisjoint(before)


def test_what_starts_from_a_run_stays_when_that_run_came_out_the_same_elsewhere(ask, quick_runs, console):
    run_study(ask(**STARTED), "local", 2, console)
    before = folders(quick_runs)
    start = first_run(quick_runs)
    start.rename(start.with_name(start.name.replace("20260101", "20270101")))
    run_study(ask(**STARTED), "local", 2, console)
    assert folders(quick_runs) == before
    assert "all runs were recorded before" in shown(console)


def test_a_checkpoint_that_was_exchanged_in_its_place_is_noticed(ask, quick_runs, console):
    run_study(ask(**STARTED), "local", 2, console)
    (first_run(quick_runs) / "checkpoints" / "final.ckpt").write_text("exchanged")
    assert [run.folder for run in ask(**STARTED).plan().runs] == [None, None]
    _, failed = run_study(ask(**STARTED), "local", 2, console)
    assert failed == 0
    assert len(folders(quick_runs)) == 4


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_that_is_alone_at_the_start_has_all_cores(workers, ask, quick_runs, console, monkeypatch):
    monkeypatch.setattr("retrieval_bench.studies.engines.local.cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    _, failed = run_study(ask(**STARTED), "local", workers, console)
    assert failed == 0
    assert "threads 6" in (first_run(quick_runs) / "log.txt").read_text()
    for folder in folders(quick_runs):
        assert f"threads {6 // workers}" in (folder / "log.txt").read_text()


def test_the_share_of_several_at_the_start_does_not_depend_on_what_is_missing(ask, quick_runs, console, monkeypatch):
    monkeypatch.setattr("retrieval_bench.studies.engines.local.cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    two = {
        "grid": {"backbone": [{"name": "resnet10t", "weights": f"trained:{name}"} for name in ("a", "b")]},
        "trained": {"a": {"method": "delg"}, "b": {"method": "dolg", "backbone.weights": "other"}},
    }
    run_study(ask(**two), "local", 6, console)
    shutil.rmtree(first_run(quick_runs))
    run_study(ask(**two), "local", 6, console)
    assert "threads 3" in (first_run(quick_runs) / "log.txt").read_text()


def test_without_the_first_run_the_others_are_not_tried(ask, quick_runs, console):
    first = {"start": {"method": "delg", "model.does": "fail"}}
    asked = ask(settings={"weights": "trained:start"}, grid=GRID, trained=first)
    with pytest.raises(RunsFailedError, match="start from failed"):
        run_study(asked, "local", 1, console)
    assert folders(quick_runs) == []


def test_the_table_holds_mean_and_deviation_over_seeds(ask, quick_runs, console):
    better = [0.5, 0.6, 0.7, 0.9]
    rows = [{"name": "base", "model.aps": [0.2, 0.4, 0.6, 0.8]}, {"name": "better", "model.aps": better}]
    results, _ = run_study(ask(grid={"head": rows}, seeds=[0, 1, 5]), "local", 2, console)
    # Seeds add 0, 0.01 and 0.05: mean 0.02, sample deviation sqrt((4 + 1 + 9) / 2) / 100 = 0.0264575.
    base, above = results.table.rows
    assert [cell.text for cell in base[:4]] == ["base", "52.00", "52.00", "52.00"]
    assert [cell.text for cell in above[:4]] == ["better", "69.50", "69.50", "69.50"]
    assert base[2].aside == above[2].aside == "± 2.65"
    # Four differences of one sign: 2 of the 16 sign patterns are as large.
    assert [row[4].text for row in results.table.rows] == ["—", "0.125"]
    assert [row[5].text for row in results.table.rows] == ["3", "3"]
    assert base[6].text == "12"
    with (results.report.parent / "table.csv").open() as file:
        first = next(csv.DictReader(file))
    assert float(first["map_medium_std"]) == pytest.approx(0.02645751311)
    assert float(first["training (s) std"]) == pytest.approx(2.6457513)
    with (results.report.parent / "runs.csv").open() as file:
        runs = list(csv.DictReader(file))
    assert [float(run["map_hard"]) for run in runs][:3] == pytest.approx([0.5, 0.51, 0.55])


def test_cards_that_differ_are_said_so(ask, quick_runs, console):
    grid = {"extract.image_size": [64, 96]}
    beside = [{"extract.image_size": 64, "pooling": "mac"}, {"extract.image_size": 64, "dataset.ground_truth": "two"}]
    results, _ = run_study(ask(grid=grid, include=beside), "local", 2, console)
    notes = results.table.notes
    assert "(a) under a protocol of its own: protocol.image_size 96 instead of 64" in notes
    assert any(note.startswith("(b) not comparable: ground_truth_digest two instead of one") for note in notes)
    assert [row[5].text for row in results.table.rows] == ["—", "1.000", "1.000", "—"]


def test_no_workers_are_refused(ask, console):
    with pytest.raises(InputError, match="--workers 0"):
        run_study(ask(grid=GRID), "local", 0, console)


def test_a_checkpoint_that_is_gone_is_named(ask, quick_runs, console):
    asked = ask(settings={"weights": "trained:start"}, grid=GRID, trained={"start": {"method": "delg"}})
    run_study(asked, "local", 2, console)
    (kept,) = quick_runs.glob("runs/synthetic/delg/*/checkpoints/final.ckpt")
    kept.unlink()
    with pytest.raises(InputError, match="keeps no"):
        run_study(asked, "local", 2, console)
