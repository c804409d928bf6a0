"""Measure SuperGlobal's re-ranker against its plain formulas: time, memory, agreement. See README.md.

Runs of all implementations alternate, so that what else the machine does meets them alike: once in processes of their
own, as an evaluation re-ranks, where memory is new to the process (its growth is measured too), then again and again in
one process.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from plain import plain_scores, plain_scores_one_by_one
from torch import Tensor

from retrieval_bench.reranking import rerank
from retrieval_bench.values.ranking import Ranking

HERE = Path(__file__).parent


def package(query: Tensor, database: Tensor, rows: Tensor) -> Tensor:
    """The package's re-ranker; new scores in the order of the old ranking, as the plain formulas give them."""
    before = Ranking(rows, torch.zeros(rows.shape))
    after = rerank("superglobal", before, query=query, database=database, top_m=rows.shape[1])
    place = torch.empty(len(database), dtype=torch.int64)
    scores = torch.empty(rows.shape)
    for number, order in enumerate(after.indices):
        place[rows[number]] = torch.arange(rows.shape[1])
        scores[number, place[order]] = after.scores[number]
    return scores


IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "plain formulas, all queries at once": plain_scores,
    "plain formulas, query by query": plain_scores_one_by_one,
    "rerank superglobal": package,
}
"""The first one is the reference."""


def data(given: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    """Clustered unit descriptors of queries and database, and the candidates of each query."""
    generator = torch.Generator().manual_seed(given.seed)
    centres = torch.randn(100, given.dim, generator=generator)

    def drawn(count: int) -> Tensor:
        clusters = torch.randint(len(centres), (count,), generator=generator)
        noise = torch.randn(count, given.dim, generator=generator)
        return torch.nn.functional.normalize(centres[clusters] + noise, dim=1)

    query, database = drawn(given.queries), drawn(given.database)
    rows = (query @ database.T).topk(given.candidates, dim=1).indices
    return query, database, rows


def alone(name: str, given: argparse.Namespace) -> tuple[float, float]:
    """Seconds that a fresh process re-ranks, and megabytes by which its peak grows meanwhile."""
    numbers = ("queries", "database", "dim", "candidates", "seed", "threads")
    options = [f"--{key}={getattr(given, key)}" for key in numbers]
    command = [sys.executable, __file__, *options, "--alone", name]
    seconds, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(megabytes)


def peak() -> float:
    """Megabytes of this process at its largest (Linux; ``ru_maxrss`` would count the process that started it)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Let the peak start again from what this process holds now."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(given: argparse.Namespace) -> pd.DataFrame:
    """One row for each implementation."""
    fresh = [{name: alone(name, given) for name in IMPLEMENTATIONS} for _ in range(given.processes)]
    inputs = data(given)
    reference = plain_scores(*inputs)
    wall: dict[str, list[float]] = {name: [] for name in IMPLEMENTATIONS}
    processor: dict[str, list[float]] = {name: [] for name in IMPLEMENTATIONS}
    for _ in range(given.repeats + 1):
        for name, run in IMPLEMENTATIONS.items():
            started, used = time.perf_counter(), time.process_time()
            run(*inputs)
            wall[name].append(time.perf_counter() - started)
            processor[name].append(time.process_time() - used)
    rows = []
    for name, run in IMPLEMENTATIONS.items():
        seconds, megabytes = zip(*(once[name] for once in fresh), strict=True)
        rows.append(
            {
                "implementation": name,
                "threads": given.threads,
                "seconds": round(statistics.median(seconds), 3),
                "memory_mb": round(statistics.median(megabytes)),
                # The first run of each warms up.
                "seconds_again": round(statistics.median(wall[name][1:]), 3),
                "processor_seconds_again": round(statistics.median(processor[name][1:]), 3),
                "largest_difference": f"{(run(*inputs) - reference).abs().max().item():.1e}",
            }
        )
    frame = pd.DataFrame(rows)
    for seconds, times in (("seconds", "times_faster"), ("seconds_again", "times_faster_again")):
        ratio = (frame[seconds].iloc[0] / frame[seconds]).round(1)
        frame.insert(frame.columns.get_loc(seconds) + 1, times, ratio)
    return frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=70)
    parser.add_argument("--database", type=int, default=5000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--candidates", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results.csv", help="rows of other thread counts stay")
    parser.add_argument("--alone", choices=IMPLEMENTATIONS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.alone:
        query, database, rows = data(given)
        IMPLEMENTATIONS[given.alone](query[:1], database, rows[:1])
        forget_peak()
        before, started = peak(), time.perf_counter()
        IMPLEMENTATIONS[given.alone](query, database, rows)
        print(time.perf_counter() - started, peak() - before)
        return
    frame = measure(given)
    if given.out.is_file():
        known = pd.read_csv(given.out, dtype={"largest_difference": str})
        frame = pd.concat([known[known["threads"] != given.threads], frame]).sort_values("threads", kind="stable")
    frame.to_csv(given.out, index=False)
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
