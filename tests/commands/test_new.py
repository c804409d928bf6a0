"""`new` writes parts that work as they are, for every kind, and never harms what is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import retrieval_bench as rb
from retrieval_bench.cli import KINDS, call
from retrieval_bench.commands import new
from retrieval_bench.settings.kinds import KINDS as ROOMS
from retrieval_bench.settings.plugins import load_plugins
from retrieval_bench.settings.registry import forget

ROOT = Path(__file__).parents[2]
LONG = "a_name_that_is_as_long_as_can_"


@pytest.fixture(autouse=True)
def _forget():
    """Take back what a test registers."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("retrieval_bench_plugin_"):
            forget(name)
            del sys.modules[name]


def make(kind: str, name: str, *more: str) -> None:
    assert call(["new", kind, name, *more]) == 0


def refused(capsys, *words: str) -> str:
    capsys.readouterr()
    assert call(["new", *words]) == 2
    return capsys.readouterr().err


def python(*words: str, folder: Path, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    """Run Python elsewhere, with this checkout importable."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = [sys.executable, *words]
    return subprocess.run(done, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of which only the folders are there."""
    package = tmp_path / "checkout" / "retrieval_bench"
    for kind in KINDS:
        (package / ROOMS[kind].room).mkdir(parents=True)
        (package.parent / "tests" / ROOMS[kind].room).mkdir(parents=True)
    monkeypatch.setattr(new, "PACKAGE", package)
    return package.parent


def test_what_is_written_is_well_formed_whatever_the_name(tmp_path, monkeypatch, checkout):
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        for name in (f"m_{kind}", LONG):
            make(kind, name, "--into", f"outside/{kind}")
            make(kind, name, "--into", str(checkout / "retrieval_bench" / ROOMS[kind].room))
    # The package itself is what imports are sorted against, as in its own folder.
    shared = ("--config", str(ROOT / "pyproject.toml"), "--config", f"src=['{ROOT}']", "outside", "checkout")
    for check in (("check",), ("format", "--check")):
        done = python("-m", "ruff", *check, *shared, folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    written = list(tmp_path.rglob("*.py"))
    assert len(written) == 2 * (2 * 2 * len(KINDS)) + 2
    assert not [path for path in written if "part_name" in path.read_text() or "PartName" in path.read_text()]


def test_the_tests_that_are_written_pass(tmp_path, monkeypatch):
    pytest.importorskip("retrieval_bench.contracts", reason="the contract checks are not there")
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        make(kind, f"my_{kind}")
    quick = ("-k", "not compiled and not exported")
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *quick, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_checks_that_are_printed_pass(kind, tmp_path, monkeypatch):
    """With compilers and exports."""
    pytest.importorskip("retrieval_bench.commands.check", reason="there is no `check`")
    monkeypatch.chdir(tmp_path)
    make(kind, "mine")
    root = []
    if kind == "dataset":
        made = "from test_mine import TRUTH, write; from pathlib import Path; write(Path('images'), TRUTH)"
        assert python("-c", made, folder=tmp_path).returncode == 0
        root = ["root=images"]
    words = ("retrieval_bench", "check", kind, "mine", *root, "--plugin", "mine.py")
    done = python("-m", *words, folder=tmp_path, timeout=1700)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_inside_the_package_the_tests_go_where_tests_are(kind, tmp_path, monkeypatch, checkout):
    monkeypatch.chdir(tmp_path)
    room = ROOMS[kind].room
    make(kind, "my_part", "--into", str(checkout / "retrieval_bench" / room))
    part = "my_part/module.py" if kind == "method" else "my_part.py"
    tests = "my_part/test_module.py" if kind == "method" else "test_my_part.py"
    assert (checkout / "retrieval_bench" / room / part).is_file()
    source = (checkout / "tests" / room / tests).read_text()
    assert "load_plugins" not in source
    assert "contracts.check_names" in source


def test_a_new_method_stands_beside_gem_without_a_remark(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("method", "my_method")
    load_plugins([tmp_path / "my_method.py"])
    made, gem = (rb.create_model(name, backbone="resnet10t", dim=16) for name in ("my_method", "gem"))
    assert made.protocol == gem.protocol


def test_the_commands_that_are_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["retrieval-bench"])
    make("pooling", "my_gem", "--into", "mine")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == ["wrote mine/my_gem.py", "wrote mine/test_my_gem.py"]
    program = f"{sys.executable} -m"
    assert lines[-3:] == [
        f"{program} pytest mine/test_my_gem.py",
        f"{program} retrieval_bench check pooling my_gem --plugin mine/my_gem.py",
        f"{program} retrieval_bench bench gem pooling=my_gem --plugin mine/my_gem.py",
    ]


def test_a_linked_interpreter_is_named_by_its_link(tmp_path, monkeypatch, capsys):
    tools, work = tmp_path / "venv" / "bin", tmp_path / "work"
    tools.mkdir(parents=True)
    work.mkdir()
    (tools / "python").symlink_to(sys.executable)
    (tools / "retrieval-bench").write_text("")
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "argv", [str(tools / "retrieval-bench")])
    monkeypatch.setattr(sys, "executable", str(tools / "python"))
    make("pooling", "my_gem")
    assert f"  {tools}/python -m pytest test_my_gem.py" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("pooling", 'make bench METHOD=gem POOLING=mine SET="plugins=[{file}]"'),
        ("loss", 'make bench METHOD=gem LOSS=mine SET="plugins=[{file}]"'),
        ("method", 'make bench METHOD=mine SET="plugins=[{file}]"'),
        ("reranker", 'make bench METHOD=gem RERANK=mine SET="plugins=[{file}]"'),
        ("dataset", 'make bench METHOD=gem DATASET=mine SET="plugins=[{file}] dataset.root=FOLDER"'),
        ("backbone", 'make bench METHOD=gem BACKBONE=mine SET="plugins=[{file}]"'),
    ],
)
def test_in_a_checkout_make_is_named(kind, says, monkeypatch, checkout):
    monkeypatch.chdir(checkout)
    place = new.Place(Path("ideas/mine.py"), Path("ideas/test_mine.py"), inside=False)
    assert new.next_commands(kind, "mine", place)[-1] == says.format(file="ideas/mine.py")


def test_a_part_inside_needs_no_plugin(monkeypatch, checkout):
    monkeypatch.chdir(checkout)
    place = new.Place(Path("retrieval_bench/pooling/mine.py"), Path("tests/pooling/test_mine.py"), inside=True)
    assert new.next_commands("pooling", "mine", place)[-1] == "make bench METHOD=gem POOLING=mine"


@pytest.mark.parametrize("name", ["My_gem", "my-gem", "2gem", "class", "", "a" * 31, "../gem"])
def test_a_name_that_python_does_not_take(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "is no name for a part" in refused(capsys, "pooling", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("pooling", "gem"), "pooling/gem.py"),
        (("method", "delg"), "methods/delg/module.py"),
        (("backbone", "resnet18"), "timm has a backbone called 'resnet18'"),
        (("pooling", "random"), "Python has a module called 'random'"),
        (("pooling", "torch"), "Python has a module called 'torch'"),
    ],
)
def test_a_name_that_is_taken(words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refused(capsys, *words)
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_plugin_is_taken_too(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("pooling", "my_gem")
    assert "my_gem.py" in refused(capsys, "pooling", "my_gem", "--into", "other", "--plugin", "my_gem.py")


@pytest.mark.parametrize("there", ["my_gem.py", "test_my_gem.py"])
def test_nothing_is_overwritten(there, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / there).write_text("precious")
    assert f"{there} exists and is not overwritten" in refused(capsys, "pooling", "my_gem")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_another_room_of_the_package_is_refused(capsys, tmp_path, monkeypatch, checkout):
    monkeypatch.chdir(tmp_path)
    wrong = checkout / "retrieval_bench" / "losses"
    assert "belongs to" in refused(capsys, "pooling", "my_gem", "--into", str(wrong))
    assert list(wrong.iterdir()) == []


def test_an_installed_package_is_left_alone(capsys, tmp_path, monkeypatch, checkout):
    monkeypatch.chdir(tmp_path)
    (checkout / "tests" / "pooling").rmdir()
    room = checkout / "retrieval_bench" / "pooling"
    assert "is no checkout" in refused(capsys, "pooling", "my_gem", "--into", str(room))
    assert list(room.iterdir()) == []


def test_a_file_is_no_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("")
    assert "mine is no folder" in refused(capsys, "pooling", "my_gem", "--into", "mine")
