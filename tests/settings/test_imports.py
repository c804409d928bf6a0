"""The files behind a module, and what of them counts."""

import importlib
import sys
from pathlib import Path

import pytest

from retrieval_bench.settings.imports import code_digest, constants, files_of, imported


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A module of a user that imports another one, which lies beside it."""
    (tmp_path / "my_part_for_test.py").write_text(
        "import math\nimport torch\nfrom my_maths_for_test import f\nfrom retrieval_bench.pooling.gem import GeM\n"
    )
    (tmp_path / "my_maths_for_test.py").write_text("def f():\n    import json\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("my_part_for_test")
    yield tmp_path
    for name in ("my_part_for_test", "my_maths_for_test"):
        del sys.modules[name]


def test_imports_are_followed_to_the_end_and_no_further(outside):
    files = files_of(["my_part_for_test"], {"pooling"})
    assert files["my_maths_for_test"] == outside / "my_maths_for_test.py"
    inside = {name for name in files if name.startswith("retrieval_bench.")}
    assert {"retrieval_bench.pooling.gem", "retrieval_bench.pooling.base"} <= inside
    assert all(name.startswith("retrieval_bench.pooling") for name in inside)
    assert {name for name in files if name not in inside} == {"my_part_for_test", "my_maths_for_test"}


def test_packages_of_another_interpreter_are_installed_ones(tmp_path, monkeypatch):
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "borrowed_for_test.py").write_text("")
    (tmp_path / "borrowing_for_test.py").write_text("import borrowed_for_test\n")
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("borrowing_for_test")
    assert list(files_of(["borrowing_for_test"], set())) == ["borrowing_for_test"]


def test_a_part_does_not_bring_its_neighbours():
    files = files_of(["retrieval_bench.pooling.mac"], {"pooling"})
    assert "retrieval_bench.pooling.mac" in files
    assert "retrieval_bench.pooling.rgem" not in files


def test_a_module_without_a_file_is_left_out():
    assert files_of(["sys", "no_such_module_for_test"], {"pooling"}) == {}


def written(folder: Path, name: str, source: str) -> Path:
    (folder / name).write_text(source)
    return folder / name


def test_only_what_python_sees_counts(tmp_path):
    plain = written(tmp_path, "a.py", "def f(x):\n    return x + 1\n")
    told = written(tmp_path, "b.py", '"""Why."""\n\n# what\ndef f( x ):\n    """Adds."""\n    return x + 1  # one\n')
    other = written(tmp_path, "c.py", "def f(x):\n    return x + 2\n")
    assert code_digest(plain) == code_digest(told) != code_digest(other)


def test_a_file_that_changes_is_read_again(tmp_path):
    before = code_digest(written(tmp_path, "a.py", "x = 1\n"))
    assert code_digest(written(tmp_path, "a.py", "x = 10\n")) != before


def test_imports_and_constants_of_a_file(tmp_path):
    file = written(tmp_path, "a.py", 'import a.b\n\ndef f():\n    from c import d\n    return {"name": "gem"}\n')
    assert imported(file) == ["a.b", "c", "c.d"]
    assert constants(file) == {"name", "gem"}
