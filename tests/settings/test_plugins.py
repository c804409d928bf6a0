"""The user's own files: loaded once, and every failure names the file."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.settings import plugins
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins

PART = """
import torch
from retrieval_bench.pooling import Pooling, register_pooling


@register_pooling("{name}")
class {cls}(Pooling):
    def __init__(self, in_channels, power=1.0):
        super().__init__()
        self.out_channels = in_channels
        self.power = power

    def forward(self, feature_map):
        return feature_map.mean(dim=(2, 3))
"""


@pytest.fixture(autouse=True)
def forget():
    """Take back what a test registers."""
    POOLINGS.names()
    parts, modules = dict(POOLINGS._parts), set(sys.modules)
    yield
    POOLINGS._parts.clear()
    POOLINGS._parts.update(parts)
    for name in set(sys.modules) - modules:
        if name.startswith("retrieval_bench_plugin_"):
            del sys.modules[name]


def write(path: Path, name: str = "my_pool", cls: str = "MyPool") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PART.format(name=name, cls=cls))
    return path


def test_a_file_adds_its_part(tmp_path):
    assert load_plugins([write(tmp_path / "mine.py")]) == []
    assert "my_pool" in POOLINGS.names()
    assert POOLINGS.create("my_pool", {"power": 2.0}, in_channels=3).power == 2.0


def test_loading_twice_is_loading_once(tmp_path):
    file = write(tmp_path / "mine.py")
    load_plugins([file])
    first = POOLINGS.get("my_pool")
    load_plugins([file, file])
    assert POOLINGS.get("my_pool") is first


def test_two_files_of_one_stem_are_both_loaded(tmp_path):
    files = [write(tmp_path / "a" / "mine.py", "pool_a"), write(tmp_path / "b" / "mine.py", "pool_b")]
    load_plugins(files)
    assert {"pool_a", "pool_b"} <= set(POOLINGS.names())


def test_one_name_in_two_files_is_refused_and_both_are_named(tmp_path):
    files = [write(tmp_path / "one.py"), write(tmp_path / "two.py")]
    with pytest.raises(InputError, match=r"'my_pool'.*one\.py.*two\.py"):
        load_plugins(files)


def test_one_name_in_two_files_of_one_stem_is_refused_too(tmp_path):
    files = [write(tmp_path / "a" / "mine.py"), write(tmp_path / "b" / "mine.py")]
    with pytest.raises(InputError, match="my_pool"):
        load_plugins(files)


def test_the_name_of_a_built_in_part_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'gem'.*pooling.gem\.py.*mine\.py"):
        load_plugins([write(tmp_path / "mine.py", "gem")])
    assert POOLINGS.get("gem").__module__ == "retrieval_bench.pooling.gem"


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"no plug-in file at .*absent\.py; check --plugin"):
        load_plugins([tmp_path / "absent.py"])


def test_a_file_that_is_no_python(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"notes\.txt is no Python file"):
        load_plugins([tmp_path / "notes.txt"])


@pytest.mark.parametrize(
    ("source", "said"),
    [("1 / 0", "ZeroDivisionError"), ("def broken(:", "SyntaxError"), ("import no_such_module_here", "no_such_module")],
)
def test_a_failing_file_is_named_with_its_error(tmp_path, source, said):
    file = tmp_path / "failing.py"
    file.write_text(source)
    with pytest.raises(InputError, match=rf"failing\.py failed to import: .*{said}") as caught:
        load_plugins([file])
    assert "\n" not in str(caught.value)
    assert "retrieval_bench_plugin_failing" not in sys.modules


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\n\nx = undefined\n", r"NameError: name 'undefined' is not defined \(failing\.py, line 3\)$"),
        (
            "def f():\n    import no_such_module\n\n\nf()\n",
            r"No module named 'no_such_module' \(failing\.py, line 2\)$",
        ),
        ("import json\njson.loads('{')\n", r"JSONDecodeError: .* \(failing\.py, line 2\)$"),
        ("x = 1\ndef broken(:\n", r"SyntaxError: invalid syntax \(failing\.py, line 2\)$"),
    ],
)
def test_a_failing_file_is_named_with_its_line(tmp_path, source, said):
    (tmp_path / "failing.py").write_text(source)
    with pytest.raises(InputError, match=said):
        load_plugins([tmp_path / "failing.py"])


def test_a_folder_is_no_plugin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match=r"^mine is a folder; .* take a Python file, such as mine/my_gem\.py$"):
        load_plugins([Path("mine")])
    write(tmp_path / "mine" / "pools.py")
    with pytest.raises(InputError, match=r"such as mine/pools\.py$"):
        load_plugins([Path("mine")])


def test_a_failing_file_can_be_mended_and_loaded_again(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PART.format(name="my_pool", cls="MyPool") + "\n1 / 0\n")
    with pytest.raises(InputError, match="ZeroDivisionError"):
        load_plugins([file])
    load_plugins([write(file)])
    assert "my_pool" in POOLINGS.names()


def test_a_failing_entry_point_is_told_and_takes_nothing_down(tmp_path, monkeypatch):
    (tmp_path / "entry_that_works_for_test.py").write_text("LOADED = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = [
        EntryPoint("bad", "no_such_package_here.parts", plugins.GROUP),
        EntryPoint("good", "entry_that_works_for_test", plugins.GROUP),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    told = load_plugins([])
    assert len(told) == 1
    assert "bad (no_such_package_here.parts)" in told[0]
    assert "ModuleNotFoundError" in told[0]
    assert "entry_that_works_for_test" in sys.modules


def test_a_failing_entry_point_is_told_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "entry_that_fails_for_test.py").write_text("import json\n\njson.loads('{')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = [EntryPoint("bad", "entry_that_fails_for_test", plugins.GROUP)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    (told,) = load_plugins([])
    assert told.endswith(" (entry_that_fails_for_test.py, line 3)")


def test_a_file_that_was_edited_is_loaded_again(tmp_path):
    file = write(tmp_path / "mine.py")
    load_plugins([file])
    first = POOLINGS.get("my_pool")
    write(file, cls="Renamed")
    load_plugins([file])
    assert POOLINGS.get("my_pool") is not first
    assert POOLINGS.get("my_pool").__name__ == "Renamed"


def test_a_part_that_was_renamed_leaves_no_trace(tmp_path):
    file = write(tmp_path / "mine.py")
    load_plugins([file])
    load_plugins([write(file, name="other_pool")])
    assert "other_pool" in POOLINGS.names()
    assert "my_pool" not in POOLINGS.names()


def test_a_failing_file_leaves_no_part_behind(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PART.format(name="my_pool", cls="MyPool") + "\n1 / 0\n")
    with pytest.raises(InputError, match="ZeroDivisionError"):
        load_plugins([file])
    assert "my_pool" not in POOLINGS.names()


def test_a_file_that_ends_the_program_is_named(tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('bye')\n")
    with pytest.raises(InputError, match=r"mine\.py failed to import: SystemExit: bye"):
        load_plugins([tmp_path / "mine.py"])


def test_an_entry_point_that_takes_a_built_in_name_is_told_and_the_built_in_stays(tmp_path, monkeypatch):
    source = PART.format(name="my_other_pool", cls="Mine") + PART.format(name="gem", cls="GeM")
    (tmp_path / "shadowing_for_test.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [EntryPoint("shadow", "shadowing_for_test", plugins.GROUP)]
    )
    (told,) = load_plugins([])
    assert "'gem'" in told
    assert "shadowing_for_test.py" in told
    assert POOLINGS.get("gem").__module__ == "retrieval_bench.pooling.gem"
    assert "my_other_pool" not in POOLINGS.names()


def test_a_built_in_name_is_taken_whoever_is_loaded_first(tmp_path):
    file = write(tmp_path / "mine.py", "gem")
    imports = "from pathlib import Path\nfrom retrieval_bench.settings.plugins import load_plugins\n"
    code = f"{imports}load_plugins([Path({str(file)!r})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    last = done.stderr.strip().splitlines()[-1]
    assert "two pooling parts are called 'gem'" in last
    assert "pooling/gem.py" in last
    assert "mine.py" in last
