"""Execute notebooks in place, each in its own folder, as `make notebooks` does.

    .venv/bin/python notebooks/execute.py notebooks/*.ipynb

What cells print is kept; when they ran is not, so that executing again shows as a difference only where outputs differ.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from retrieval_bench.settings.whole_file import write_text


def execute(path: Path) -> None:
    """Execute one notebook; where a cell fails, the file stays as it is.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(path.parent.absolute())}}
    NotebookClient(notebook, timeout=None, record_timing=False, resources=place).execute()
    for cell in notebook.cells:
        # Of an execution that did record it.
        cell.metadata.pop("execution", None)
    write_text(path, nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"executing {name}", flush=True)
        execute(Path(name))
