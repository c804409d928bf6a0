"""Every notebook runs from top to bottom in an empty folder; executing it in place writes outputs and no times."""

import importlib.util
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_some():
    assert [path.stem for path in NOTEBOOKS] == ["add_a_pooling"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()


def executed(path):
    """Executes a notebook in place, as `make notebooks` does."""
    place = NOTEBOOKS[0].parent / "execute.py"
    spec = importlib.util.spec_from_file_location("execute_notebooks", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.execute(path)


def test_executing_again_changes_nothing(tmp_path):
    path = tmp_path / "own notebook.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1 + 1)")])
    notebook.cells[0].metadata["execution"] = {"iopub.status.idle": "2025-01-01T00:00:00Z"}
    nbformat.write(notebook, path)
    executed(path)
    once = path.read_bytes()
    assert b'"2\\n"' in once
    assert b"iopub" not in once
    executed(path)
    assert path.read_bytes() == once


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_times_are_kept(path):
    assert all("execution" not in cell.metadata for cell in nbformat.read(path, as_version=4).cells)
