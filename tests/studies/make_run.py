"""Stands in for ``retrieval-bench bench --config FILE`` in the tests of studies: leaves a run folder without computing.

What it does stands in the settings: ``model.does`` is "finish", "fail", "refuse", "die", "orphan" (kill the process
that started it, as a machine that breaks does) or "wait" (until the file of ``model.until`` is there). The APs of the
four queries are those of ``model.aps`` plus a hundredth per seed. It imports next to nothing, so that a study of such
runs takes seconds.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import yaml


def main(config: Path) -> int:
    """Do as the settings say; returns the exit code."""
    settings = yaml.safe_load(config.read_text())
    # To compute the digest would need all parts, and with them torch.
    parent = Path(settings["runs"]) / settings["dataset"]["name"] / settings["method"]
    folder = next(parent.glob(f"*-{config.stem}"), parent / f"20260101-000000-{config.stem}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pid.partial").write_text(str(os.getpid()))
    (folder / "pid.partial").rename(folder / "pid")
    does = settings["model"].get("does", "finish")
    print(f"epoch 1/1, threads {os.environ.get('OMP_NUM_THREADS')}", file=sys.stderr, flush=True)
    while does == "wait" and not Path(settings["model"]["until"]).exists():
        time.sleep(0.02)
    if does == "fail":
        print("failed: ValueError: it broke (--debug shows the traceback)", file=sys.stderr)
        return 1
    if does == "refuse":
        print("error: no such thing; did you mean 'thing'", file=sys.stderr)
        return 2
    if does in ("die", "orphan"):
        os.kill(os.getpid() if does == "die" else os.getppid(), 9)
        return 1
    leave(folder, settings)
    return 0


def leave(folder: Path, settings: dict[str, Any]) -> None:
    """Write what a finished run has of what a study reads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    seed = settings["seed"]
    aps = [ap + 0.01 * seed for ap in settings["model"].get("aps", [0.2, 0.4, 0.6, 0.8])]
    level = {"map": sum(aps) / len(aps), "interval": None, "precision_at": {}, "queries": 4}
    words = ("images", "query_crop", "search", "train_set", "weights", "weights_digest")
    card = {
        **dict.fromkeys(words, "drawn"),
        "dataset": "synthetic",
        "ground_truth_digest": settings["dataset"].get("ground_truth", "one"),
        "queries": 4,
        "database": 9,
        "protocol": {"image_size": settings["extract"]["image_size"] or 96},
    }
    record = {
        "schema_version": 1,
        "run_id": folder.name,
        "title": "drawn",
        "method": settings["method"],
        "parts": {},
        "dataset": "synthetic",
        "created": "2026-01-01",
        "stages": [{"name": "global", "levels": dict.fromkeys(("easy", "medium", "hard"), level)}],
        "costs": [
            {"name": "training", "value": 10.0 + seed, "unit": "s"},
            {"name": "odd", "value": 1, "unit": "s"},
        ],
        "card": card,
        "provenance": {},
    }
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "final.ckpt").write_text(str(settings["backbone"].get("weights", "")))
    pq.write_table(pa.table({"global/ap_medium": aps}), folder / "per_query.parquet")
    (folder / "record.json").write_text(json.dumps(record))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
