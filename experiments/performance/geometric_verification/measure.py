"""Measure the geometric backends: mAP after re-ranking, and processor time a pair. See README.md.

Processor time, of all threads together, does not depend on what else the machine does.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from pairs import Pairs, load_pairs, simulate_pairs
from skimage_reference import SkimageRansac
from torch import Tensor

from retrieval_bench.evaluation import evaluate
from retrieval_bench.reranking import create_reranker
from retrieval_bench.reranking.geometry.estimator import Estimator, create_estimator
from retrieval_bench.reranking.matching import match_descriptors
from retrieval_bench.values.ranking import Ranking


def settings(threshold: float, seed: int) -> dict[str, Callable[[], Estimator]]:
    """What is measured, by name: the published reference first."""

    def backend(name: str, transform: str, iterations: int, **options: object) -> Callable[[], Estimator]:
        given = {"transform": transform, "threshold": threshold, "iterations": iterations, "seed": seed}
        return lambda: create_estimator(name, options, **given)

    measured = {"skimage affine 1000 (published)": lambda: SkimageRansac("affine", threshold, 1000, seed)}
    for method in ("ransac", "usac", "magsac", "prosac"):
        measured[f"opencv {method} affine 1000"] = backend("opencv", "affine", 1000, method=method)
    measured["opencv ransac affine 10000"] = backend("opencv", "affine", 10000, method="ransac")
    for iterations in (500, 1000, 2000, 8000):
        measured[f"torch affine {iterations}, no preference"] = backend("torch", "affine", iterations, preference=1.0)
    for iterations in (250, 500, 1000, 2000):
        measured[f"torch affine {iterations}"] = backend("torch", "affine", iterations)
    measured["torch affine 1000, preference 3"] = backend("torch", "affine", 1000, preference=3.0)
    measured["torch affine 1000, any scale"] = backend("torch", "affine", 1000, max_scale=None)
    measured["torch affine 1000, unrefined"] = backend("torch", "affine", 1000, refinements=0)
    for method in ("usac", "prosac"):
        measured[f"opencv {method} homography 1000"] = backend("opencv", "homography", 1000, method=method)
    measured["poselib homography 1000, uniform"] = backend("poselib", "homography", 1000, progressive=False)
    measured["poselib homography 1000"] = backend("poselib", "homography", 1000)
    measured["torch homography 1000"] = backend("torch", "homography", 1000)
    return measured


def reorder(ranking: Ranking, inliers: np.ndarray) -> Ranking:
    """The first columns of `ranking` by falling inliers; equal ones keep their order."""
    places = np.argsort(-inliers, axis=1, kind="stable")
    rows = ranking.indices.clone()
    rows[:, : inliers.shape[1]] = rows.gather(1, torch.from_numpy(places))
    return Ranking.from_indices(rows)


def measure(pairs: Pairs, threshold: float, max_distance: float, top_k: int, seed: int) -> tuple[pd.DataFrame, float]:
    """One row for each setting, and the milliseconds that matching takes for one pair."""
    top_k = min(top_k, pairs.ranking.k)
    matched: list[list[tuple[Tensor, Tensor]]] = []
    started = time.process_time()
    for query, rows in zip(pairs.queries, pairs.ranking.indices[:, :top_k].tolist(), strict=True):
        points = []
        for candidate in (pairs.database[row] for row in rows):
            found = match_descriptors(query.descriptors, candidate.descriptors, max_distance=max_distance)
            points.append((candidate.keypoints[found[:, 1]], query.keypoints[found[:, 0]]))
        matched.append(points)
    number = len(matched) * top_k
    matching = (time.process_time() - started) / number * 1e3

    table = [_row("before re-ranking", pairs, pairs.ranking, None, float("nan"))]
    for name, make in settings(threshold, seed).items():
        estimator = make()
        estimator.inliers(matched[0][:2])
        started = time.process_time()
        masks = [estimator.inliers(points) for points in matched]
        elapsed = (time.process_time() - started) / number * 1e3
        inliers = np.array([[int(mask.sum()) for mask in row] for row in masks])
        table.append(_row(name, pairs, reorder(pairs.ranking, inliers), inliers, elapsed))
        print(table[-1], flush=True)
    frame = pd.DataFrame(table)
    reference = frame.loc[frame["setting"].str.startswith("skimage"), "ms_per_pair"].iloc[0]
    frame["times_faster"] = (reference / frame["ms_per_pair"]).round().astype("Int64")
    return frame, matching


def _row(name: str, pairs: Pairs, ranking: Ranking, inliers: np.ndarray | None, elapsed: float) -> dict[str, object]:
    result = evaluate(ranking, pairs.ground_truth)
    mean = float("nan") if inliers is None else float(inliers.mean())
    return {
        "setting": name,
        "map_medium": round(100 * result.map_medium, 2),
        "mean_inliers": round(mean, 2),
        "ms_per_pair": round(elapsed, 3),
    }


def whole_seconds(pairs: Pairs, options: dict[str, object]) -> float:
    """Processor seconds for re-ranking all queries with `options`, matching and reading included."""
    reranker = create_reranker("geometric", **options)
    started = time.process_time()
    reranker(pairs.ranking, pairs.queries, pairs.database)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=Path, help="a folder as load_pairs reads it; without it, simulated pairs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--threshold", type=float, default=20.0, help="pixels")
    parser.add_argument("--max-distance", type=float, default=1.0)
    parser.add_argument("--top-k", type=int, default=100)
    parser.add_argument("--queries", type=int, default=20, help="of the simulation")
    parser.add_argument("--candidates", type=int, default=40, help="of each simulated query")
    parser.add_argument("--noise", type=float, default=0.075, help="of simulated descriptors, see simulate_pairs")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if given.features:
        pairs = load_pairs(given.features)
    else:
        pairs = simulate_pairs(given.queries, given.candidates, (300, 1000), given.seed, given.noise)
    frame, matching = measure(pairs, given.threshold, given.max_distance, given.top_k, given.seed)
    options = {"top_k": given.top_k, "threshold": given.threshold, "max_distance": given.max_distance}
    seconds = whole_seconds(pairs, options)

    given.out.mkdir(parents=True, exist_ok=True)
    stem = given.features.name if given.features else f"simulated_noise_{given.noise:g}"
    frame.to_csv(given.out / f"{stem}.csv", index=False)
    count = len(pairs.queries) * min(given.top_k, pairs.ranking.k)
    features = np.mean([len(image) for image in (*pairs.queries, *pairs.database)])
    lines = [
        f"{len(pairs.queries)} queries, {count} pairs, {features:.0f} features an image on average, threshold "
        f"{given.threshold:g} px. Matching takes {matching:.2f} ms a pair; the default re-ranker as a whole "
        f"{seconds / count * 1e3:.2f} ms a pair: {count / seconds:.0f} pairs a second on one core.",
        "",
        "| setting | mAP (medium) | mean inliers | ms a pair | times faster |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {' | '.join('' if pd.isna(value) else str(value) for value in row)} |" for row in frame.to_numpy()),
    ]
    (given.out / f"{stem}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
