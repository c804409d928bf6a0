"""Clusters of two workers on this machine. Skipped where the extra of an engine is not installed."""

import os
import signal
import sys
import threading
import time

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.studies.running import run_study

GRID = {"model.does": ["finish", "fail"]}
LOCAL = {"cluster": "local", "timeout_min": 5}


@pytest.fixture
def engine(request, monkeypatch):
    name, module = request.param
    pytest.importorskip(module, reason=f"needs the extra {name!r}: pip install 'retrieval-bench[{name}]'")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return name


both = pytest.mark.parametrize("engine", [("ray", "ray"), ("slurm", "submitit")], indirect=True)


@both
def test_a_study_on_a_local_cluster_of_two_workers(engine, ask, quick_runs, console):
    results, failed = run_study(ask(grid=GRID, seeds=[0, 1], slurm=LOCAL), engine, 2, console)
    assert failed == 2
    said = console.file.getvalue()
    assert (said.count("done    "), said.count("failed  ")) == (2, 2)
    assert "fail, seed 0: ValueError: it broke" in said
    assert [row[4].text for row in results.table.rows] == ["2", "0 of 2"]
    logs = list(quick_runs.glob("runs/synthetic/gem/*/log.txt"))
    assert len(logs) == 2
    assert all("threads " in log.read_text() for log in logs)


@both
def test_a_run_that_is_alone_at_the_start_has_all_cores(engine, ask, quick_runs, console, monkeypatch):
    monkeypatch.setattr(f"retrieval_bench.studies.engines.{engine}.cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    started = {"settings": {"weights": "trained:start"}, "trained": {"start": {"method": "delg"}}}
    _, failed = run_study(ask(**started, grid={"pooling": ["gem", "mac"]}, slurm=LOCAL), engine, 2, console)
    assert failed == 0
    (start,) = quick_runs.glob("runs/synthetic/delg/*/log.txt")
    assert "threads 6" in start.read_text()
    rest = [log.read_text() for log in quick_runs.glob("runs/synthetic/gem/*/log.txt")]
    assert ["threads 3" in said for said in rest] == [True, True]


@both
def test_two_run_at_a_time_and_an_interruption_ends_them(engine, ask, quick_runs, console):
    settings = {"model.does": "wait", "model.until": str(quick_runs / "gate")}
    asked = ask(settings=settings, grid={"pooling": ["gem", "mac", "spoc"]}, slurm=LOCAL)
    runs = quick_runs / "runs/synthetic/gem"

    def interrupt() -> None:
        while len(list(runs.glob("*/pid"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_study(asked, engine, 2, console)
    pids = [int(pid.read_text()) for pid in runs.glob("*/pid")]
    assert len(pids) == 2
    end = time.monotonic() + 20
    while any(running(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(running(pid) for pid in pids)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("engine", "module", "extra"), [("ray", "ray", "ray"), ("slurm", "submitit", "slurm")], ids=["ray", "slurm"]
)
def test_an_engine_that_is_not_installed_names_its_extra(engine, module, extra, ask, quick_runs, console, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"retrieval-bench\[{extra}\]"):
        run_study(ask(grid=GRID), engine, 1, console)


def test_without_slurm_the_way_out_is_named(ask, quick_runs, console, monkeypatch):
    pytest.importorskip("submitit", reason="needs the extra 'slurm': pip install 'retrieval-bench[slurm]'")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match="no srun on this machine"):
        run_study(ask(grid=GRID), "slurm", 1, console)


def test_an_unknown_parameter_of_a_job_is_named(ask, quick_runs, console):
    pytest.importorskip("submitit", reason="needs the extra 'slurm': pip install 'retrieval-bench[slurm]'")
    with pytest.raises(InputError, match="slurm: "):
        run_study(ask(grid=GRID, slurm={**LOCAL, "partitoin": "gpu"}), "slurm", 1, console)
