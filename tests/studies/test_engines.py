"""Clusters of two workers on this machine: Ray's own processes, and submitit's for SLURM."""

import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.studies.engines import ray as ray_engine
from retrieval_bench.studies.running import run_study

GRID = {"model.does": ["finish", "fail", "orphan"]}
LOCAL = {"cluster": "local", "timeout_min": 5}


@pytest.fixture(params=[("ray", "ray"), ("slurm", "submitit")], ids=["ray", "slurm"])
def engine(request, monkeypatch):
    """An engine that leaves no process and no file."""
    name, module = request.param
    pytest.importorskip(module, reason=f"needs the extra {name!r}: pip install 'retrieval-bench[{name}]'")
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # of pytest's own, the path is too long for sockets
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", folder)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    before = children()
    yield name
    left = list(Path(folder).iterdir())
    shutil.rmtree(folder)
    assert left == []
    ended(lambda: not children() - before)


def children() -> set[str]:
    """Processes that this one started, and those that they did."""
    import psutil

    found = psutil.Process().children(recursive=True)
    return {f"{one.pid} {one.name()}" for one in found if one.is_running() and one.status() != psutil.STATUS_ZOMBIE}


def ended(condition) -> None:
    """Wait until it holds."""
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    assert condition()


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_study_on_a_local_cluster_of_two_workers(engine, ask, quick_runs, console):
    """Runs that finish, runs that fail, and a worker that is killed: each is told, and none stops another."""
    results, failed = run_study(ask(grid=GRID, slurm=LOCAL), engine, 2, console)
    said = console.file.getvalue()
    assert failed == 2, said
    assert (said.count("done    "), said.count("failed  ")) == (1, 2)
    assert "fail, seed 0: ValueError: it broke" in said
    lost = "orphan, seed 0: WorkerCrashedError" if engine == "ray" else "orphan, seed 0: UncompletedJobError"
    assert lost in said
    assert [row[4].text for row in results.table.rows] == ["1", "0 of 1", "0 of 1"]
    (log,) = quick_runs.glob("runs/synthetic/gem/*/log.txt")
    assert "threads " in log.read_text()


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_interrupted_study_ends_its_runs_and_goes_on_without_repeating(engine, ask, quick_runs, console, when):
    """A polite kill while two runs are recorded and two are under way."""
    gate = quick_runs / "gate"
    grid = {"model.does": ["finish", "wait"], "pooling": ["gem", "mac"]}
    asked = ask(settings={"model.until": str(gate)}, grid=grid, slurm=LOCAL)
    runs = quick_runs / "runs/synthetic/gem"
    handler = signal.getsignal(signal.SIGTERM)

    def pids() -> dict[str, int]:
        return {file.parent.name: int(file.read_text()) for file in runs.glob("*/pid")}

    def under_way() -> bool:
        return len(pids()) == 4 and len(list(runs.glob("*/log.txt"))) == 2

    when(under_way, lambda: os.kill(os.getpid(), signal.SIGTERM), 120)
    with pytest.raises(KeyboardInterrupt):
        run_study(asked, engine, 2, console)
    assert signal.getsignal(signal.SIGTERM) is handler
    first = pids()
    recorded = {path.parent.name for path in runs.glob("*/record.json")}
    assert (len(first), len(recorded)) == (4, 2)
    ended(lambda: not any(running(pid) for pid in first.values()))

    gate.mkdir()  # a file under this name would count as one that the runs read
    _, failed = run_study(asked, engine, 2, console)
    assert failed == 0, console.file.getvalue()
    assert {name for name, pid in pids().items() if pid == first[name]} == recorded
    assert len(list(runs.glob("*/record.json"))) == 4


@pytest.mark.parametrize(
    ("name", "module", "extra"), [("ray", "ray", "ray"), ("slurm", "submitit", "slurm")], ids=["ray", "slurm"]
)
def test_an_engine_that_is_not_installed_names_its_extra(name, module, extra, ask, quick_runs, console, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"^--engine {name} needs .*: pip install 'retrieval-bench\[{extra}\]'$"):
        run_study(ask(grid=GRID), name, 1, console)


def test_without_slurm_the_way_out_is_named(ask, quick_runs, console, monkeypatch):
    pytest.importorskip("submitit", reason="needs the extra 'slurm': pip install 'retrieval-bench[slurm]'")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match="no srun on this machine"):
        run_study(ask(grid=GRID), "slurm", 1, console)


def test_an_unknown_parameter_of_a_job_is_named(ask, quick_runs, console):
    pytest.importorskip("submitit", reason="needs the extra 'slurm': pip install 'retrieval-bench[slurm]'")
    with pytest.raises(InputError, match="slurm: "):
        run_study(ask(grid=GRID, slurm={**LOCAL, "partitoin": "gpu"}), "slurm", 1, console)


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "nonsense"])
def test_a_cluster_that_is_not_there_is_named(address, ask, quick_runs, console, monkeypatch):
    pytest.importorskip("ray", reason="needs the extra 'ray': pip install 'retrieval-bench[ray]'")
    with socket.socket() as nobody:  # bound, so that nobody else listens there; it does not listen itself
        nobody.bind(("127.0.0.1", 0))
        given = address.format(port=nobody.getsockname()[1])
        monkeypatch.setenv("RAY_ADDRESS", given)
        with pytest.raises(InputError, match=f"^no Ray cluster at RAY_ADDRESS={given} .*; start one, or unset it$"):
            run_study(ask(grid=GRID), "ray", 1, console)


def test_sockets_lie_under_a_short_path(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", "/here")
    assert ray_engine._place() == "/here"
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("long" * 10)))
    assert ray_engine._place() == "/tmp"
