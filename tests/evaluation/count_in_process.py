"""One of two processes that share a stream of scores: run by test_metric with its rank and a folder."""

import sys
from pathlib import Path

import torch
import torch.distributed

from retrieval_bench.evaluation import RevisitedMetric

torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
case = torch.load(folder / "case.pt")
metric = RevisitedMetric(case["truth"], database_size=case["scores"].shape[1])
metric.set_positive_scores(case["scores"][:, metric.positive_rows])
# Chunks of 64 rows, every other one, so that the last process gets fewer.
for first_row in range(64 * rank, case["scores"].shape[1], 128):
    metric.update(case["scores"][:, first_row : first_row + 64], first_row)
metric.compute().per_query.to_pickle(folder / f"per_query_{rank}.pkl")
torch.distributed.destroy_process_group()
