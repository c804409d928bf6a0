"""A worker process of a build: ``python -m retrieval_bench.data.synthetic.worker FOLDER OPTIONS FIRST STEP``.

It renders tasks FIRST, FIRST + STEP, ... into FOLDER and prints one line of JSON per finished task: the records of its
pictures. A module of its own, started afresh, works alike under every start method, from scripts without a main guard
and from processes whose threads would not survive a fork.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2

from retrieval_bench.data.synthetic.plan import Options, tasks
from retrieval_bench.data.synthetic.render import Record, render_task
from retrieval_bench.data.synthetic.stock import draw_stock


def render_tasks(options: Options, folder: Path, first: int = 0, step: int = 1) -> Iterator[list[Record]]:
    """Render every `step`-th task from `first` on, in one OpenCV thread; yields the records of one after another."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        stock = draw_stock(options)
        for task in tasks(options)[first::step]:
            yield render_task(options, stock, task, folder)
    finally:
        cv2.setNumThreads(threads)


def main(folder: str, options: str, first: str, step: str) -> None:
    """Run as a process; the arguments are those of the command line."""
    for records in render_tasks(Options(**json.loads(options)), Path(folder), int(first), int(step)):
        print(json.dumps([record.to_json() for record in records]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
