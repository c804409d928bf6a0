"""Measure re-ranking by correlation: pyramids computed once against pair by pair. See README.md.

On a processor times are those of all threads together, which do not depend on what else the machine does.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pair_by_pair
import pandas as pd
import torch
from torch import Tensor

from retrieval_bench.methods.cvnet.correlation import aligned_levels, correlate
from retrieval_bench.methods.cvnet.matcher import Matcher
from retrieval_bench.reranking import create_reranker
from retrieval_bench.values.ranking import Ranking

REFERENCE = "pair by pair, as published"


@dataclass(frozen=True)
class Work:
    """What is measured for one size of images.

    Attributes:
        size: rows and columns of the feature maps.
        queries: each of them is compared with all of the database.
        top_k: images of the database.
        runs: of everything.
    """

    size: tuple[int, int]
    queries: int
    top_k: int
    runs: int


WORK = {"512x384": Work((24, 32), 5, 20, 5), "1024x768": Work((48, 64), 3, 10, 3)}
SAMPLE = 3
"""Pairs that are measured pair by pair."""


def milliseconds(call: Callable[[], object], device: torch.device) -> float:
    """What one call takes."""
    gc.collect()
    if device.type == "cpu":
        started = time.process_time()
        call()
        return (time.process_time() - started) * 1e3
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - started) * 1e3


def maps(count: int, size: tuple[int, int], seed: int) -> list[Tensor]:
    """Feature maps ``(1024, h, w)`` of random values; every second one is upright."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1024, *size[:: (-1) ** row], generator=generator) for row in range(count)]


def measure(matcher: Matcher, work: Work) -> dict[str, list[float]]:
    """Milliseconds a pair of every way of working, once for each run; the ways take turns."""
    device = next(matcher.parameters()).device
    size, queries, top_k = work.size, work.queries, work.top_k
    asked, known = maps(queries, size, 0), maps(top_k, size, 1)
    indices = torch.stack([torch.randperm(top_k, generator=torch.Generator().manual_seed(q)) for q in range(queries)])
    ranking = Ranking(indices, torch.linspace(0.9, 0.1, top_k).expand(queries, -1).contiguous())
    first = Ranking(ranking.indices[:1], ranking.scores[:1])

    def published() -> Tensor:
        pairs = [(asked[0][None].to(device), known[row][None].to(device)) for row in range(SAMPLE)]
        return torch.cat([pair_by_pair.score(matcher, *pair) for pair in pairs])

    def ours() -> Tensor:
        pairs = [(asked[0][None].to(device), known[row][None].to(device)) for row in range(SAMPLE)]
        return torch.cat([matcher.score(*map(matcher.pyramid, pair)) for pair in pairs])

    difference = float((published() - ours()).abs().max())
    assert difference < 1e-5, f"the two ways differ by {difference}"
    taken: dict[str, list[float]] = {}
    for _ in range(work.runs):
        reranker = create_reranker("cvnet", model=matcher, top_k=top_k)
        lone = create_reranker("cvnet", model=matcher, top_k=top_k)
        ways: dict[str, tuple[Callable[[], object], int]] = {
            REFERENCE: (published, SAMPLE),
            "pair by pair, this matcher": (ours, SAMPLE),
            "pyramids once, one query": (lambda lone=lone: lone(first, asked[:1], known), top_k),
            f"pyramids once, {queries} queries": (lambda r=reranker: r(ranking, asked, known), queries * top_k),
            "pyramids known before": (lambda r=reranker: r(ranking, asked, known), queries * top_k),
        }
        for name, (call, pairs) in ways.items():
            taken.setdefault(name, []).append(milliseconds(call, device) / pairs)
    return taken


def correlations(matcher: Matcher, work: Work) -> dict[str, list[float]]:
    """Milliseconds for the whole correlation of one pair, by what is resized."""
    device = next(matcher.parameters()).device
    one, other = (pair_by_pair.levels(matcher, each[None].to(device)) for each in maps(2, work.size, 0))

    def features() -> Tensor:
        return correlate(aligned_levels(one).flatten(3), aligned_levels(other))

    def halves() -> tuple[Tensor, Tensor]:
        query, key = aligned_levels(one), aligned_levels(other)
        return (
            correlate(query[..., ::2, ::2].flatten(3), key),
            correlate(key[..., ::2, ::2].flatten(3), query),
        )

    ways: dict[str, Callable[[], object]] = {
        "correlation, volumes resized": lambda: pair_by_pair.correlation(one, other),
        "correlation, features resized": features,
        "correlation, features resized, only the planes read": halves,
    }
    taken: dict[str, list[float]] = {}
    for _ in range(work.runs):
        for name, call in ways.items():
            taken.setdefault(name, []).append(milliseconds(call, device))
    return taken


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", choices=list(WORK), nargs="+", default=list(WORK))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.csv")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    matcher = Matcher(1024).to(given.device).eval()
    table = []
    for images in given.images:
        taken = measure(matcher, WORK[images])
        medians = {name: statistics.median(times) for name, times in taken.items()}
        table += [
            {
                "images": images,
                "way": name,
                "ms_per_pair": round(median, 1),
                "slowest": round(max(taken[name]), 1),
                "times_faster": round(medians[REFERENCE] / median, 2),
            }
            for name, median in medians.items()
        ]
        alone = {name: statistics.median(times) for name, times in correlations(matcher, WORK[images]).items()}
        base = next(iter(alone.values()))
        table += [
            {"images": images, "way": name, "ms_per_pair": round(time, 1), "times_faster": round(base / time, 2)}
            for name, time in alone.items()
        ]
    frame = pd.DataFrame(table)
    frame.to_csv(given.out, index=False)
    print("| images | way | ms a pair | times faster |\n| --- | --- | --- | --- |")
    for row in frame.itertuples():
        print(f"| {row.images} | {row.way} | {row.ms_per_pair:g} | {row.times_faster:g} |")


if __name__ == "__main__":
    main()
