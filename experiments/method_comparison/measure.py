"""Nine methods on `synthetic`, as `make compare` runs them, beside three floors.

    .venv/bin/python experiments/method_comparison/measure.py

Finished runs are not repeated. Writes `results.csv` and the table in README.md here and in the README of the project.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from rich.console import Console

import retrieval_bench as rb
from retrieval_bench.bench import run
from retrieval_bench.data.loading import load_for_protocol
from retrieval_bench.recording.comparing import p_values
from retrieval_bench.recording.run_folder import finished_run
from retrieval_bench.reporting.tables import probability
from retrieval_bench.settings.loading import load_settings
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.record import Level, read_record
from retrieval_bench.values.dataset import ImageList

HERE = Path(__file__).parent
LEVELS = ("Easy", "Medium", "Hard")
MARKS = ("<!-- results: begin -->", "<!-- results: end -->")
METHODS = ("gem", "delg", "dolg", "cvnet", "superglobal", "spca", "ultron", "senet", "cfcd")
UNTRAINED = ["method=gem", "train.enabled=false"]
SECONDS = {"training": "training s", "extraction": "extraction s", "re-ranking": "re-ranking s"}


def histogram(images: ImageList) -> torch.Tensor:
    """``(N, 128)`` square roots of HSV histograms (8 x 4 x 4 bins) of the images at 96 x 96, unit norm."""
    rows = []
    for path, box in zip(images.paths, images.boxes, strict=True):
        hsv = cv2.cvtColor(load_for_protocol(path, box, Protocol()), cv2.COLOR_RGB2HSV_FULL)
        small = cv2.resize(hsv, (96, 96), interpolation=cv2.INTER_CUBIC).reshape(-1, 3).astype(float)
        counts, _ = np.histogramdd(small, bins=(8, 4, 4), range=((0, 256),) * 3)
        rows.append(np.sqrt(counts.ravel() / counts.sum()))
    return torch.from_numpy(np.stack(rows)).float()


def run_of(settings: Sequence[str]) -> Path:
    """The folder of a run that was done before, or of one done now."""
    wanted = load_settings(settings)
    return finished_run(wanted) or run(wanted, Console(stderr=True))[1]


def cells(levels: dict[str, Level]) -> dict[str, str]:
    """mAP with its interval, in percent, by level."""
    shown = {}
    for name, level in levels.items():
        assert level.map is not None
        assert level.interval is not None
        low, high = (100 * end for end in level.interval)
        shown[f"{name.capitalize()}"] = f"{100 * level.map:.1f} [{low:.1f}, {high:.1f}]"
    return shown


def main() -> None:
    """Measure, and write the tables."""
    dataset = rb.load_dataset("synthetic")
    colours = rb.evaluate(rb.search(histogram(dataset.queries), histogram(dataset.database)), dataset.ground_truth)
    rows_in_order = np.tile(np.arange(len(dataset.database)), (len(dataset.queries), 1))
    shuffled = np.random.default_rng(0).permuted(rows_in_order, axis=1)
    chance = rb.evaluate(shuffled, dataset.ground_truth)
    rows = [
        {"Method": name, **{level: f"{100 * value:.1f}" for level, value in zip(LEVELS, values, strict=True)}}
        for name, values in (
            ("random order", (chance.map_easy, chance.map_medium, chance.map_hard)),
            ("HSV histogram", (colours.map_easy, colours.map_medium, colours.map_hard)),
        )
    ]
    folders = [run_of([f"method={method}"]) for method in METHODS]
    tests = p_values(folders)
    untrained = read_record(run_of(UNTRAINED))
    rows.append({"Method": "GeM, untrained", **cells(untrained.stages[0].levels)})
    for record, tested in zip(map(read_record, folders), tests, strict=True):
        costs = {cost.name.removesuffix(" (stored by an earlier run)"): cost.value for cost in record.costs}
        for stage, p in zip(record.stages, tested, strict=True):
            reranked = stage.name == "reranked"
            after = f", re-ranked by {record.parts['re-ranker']}" if reranked else ""
            shown = ("re-ranking",) if reranked else ("training", "extraction")
            seconds = {SECONDS[name]: f"{costs[name]:.0f}" for name in shown if name in costs}
            title = record.title.partition(f" {record.parts['backbone']}")[0]
            rows.append({"Method": title + after, **cells(stage.levels), "p": probability(p), **seconds})
    table = pd.DataFrame(rows).fillna("")
    table.to_csv(HERE / "results.csv", index=False)
    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in table.itertuples(index=False)]
    for page in (HERE / "README.md", HERE.parents[1] / "README.md"):
        text = page.read_text(encoding="utf-8")
        before, rest = text.split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        page.write_text(f"{before}{MARKS[0]}\n{chr(10).join(lines)}\n{MARKS[1]}{after}", encoding="utf-8")
    Console().print("\n".join(lines), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
