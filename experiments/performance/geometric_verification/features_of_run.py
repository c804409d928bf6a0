"""Real local features for `measure.py --features`: those of a finished DELG run.

.venv/bin/python experiments/performance/geometric_verification/features_of_run.py runs/synthetic/delg/<run> FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import torch
from pairs import Pairs, save_pairs
from rich.console import Console

from retrieval_bench.bench import build_model
from retrieval_bench.data.registry import load_dataset
from retrieval_bench.running.describe import describe
from retrieval_bench.running.state import RunState
from retrieval_bench.settings.loading import load_settings
from retrieval_bench.values.ranking import Ranking


def main(run: Path, folder: Path) -> None:
    """Write the features, the global ranking and the ground truth of a run."""
    settings = load_settings([f"weights={run / 'checkpoints' / 'final.ckpt'}"], run / "config.yaml")
    dataset = load_dataset(str(settings.dataset.name), settings.dataset.root, **settings.dataset.options)
    model = build_model(settings, dataset, training=False)
    state = RunState(settings, run, Console(stderr=True))
    queries, database = describe(state, model, dataset, local=True)
    with np.load(run / "ranking.npz") as stored:
        ranking = Ranking(torch.from_numpy(stored["global_indices"]), torch.from_numpy(stored["global_scores"]))
    save_pairs(folder, Pairs(queries.local_features, database.local_features, ranking, dataset.ground_truth))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
