"""Queries, candidates and ground truth for the measurement: simulated, or read from a folder of real features."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.dataset import GroundTruth
from retrieval_bench.values.local_features import LocalFeatures
from retrieval_bench.values.ranking import Ranking

SCALES = np.array([0.25, 0.3535, 0.5, 0.7071, 1.0, 1.4142, 2.0])
STRIDE = 16
DIMENSIONS = 128
WORDS = 300


@dataclass(frozen=True)
class Pairs:
    """Everything a re-ranking measurement needs: local features, a ranking to improve, and the truth."""

    queries: Sequence[LocalFeatures]
    database: Sequence[LocalFeatures]
    ranking: Ranking
    ground_truth: GroundTruth


def save_pairs(path: Path, pairs: Pairs) -> None:
    """Write `pairs` as `load_pairs` reads them."""
    path.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for side, images in (("query", pairs.queries), ("database", pairs.database)):
        for part in ("keypoints", "descriptors", "scores", "scales"):
            tensors[f"{side}_{part}"] = torch.cat([getattr(image, part) for image in images]).contiguous()
        tensors[f"{side}_offsets"] = torch.tensor([0, *(len(image) for image in images)]).cumsum(0)
    save_file(tensors, path / "features.safetensors")
    pairs.ranking.save(path / "ranking.npz")
    (path / "gnd.json").write_text(json.dumps(pairs.ground_truth))


def load_pairs(path: Path) -> Pairs:
    """Read a folder of real features.

    It holds ``features.safetensors`` with ``query_keypoints (sum L, 2)``, ``query_descriptors (sum L, d)``,
    ``query_scores``, ``query_scales`` (both ``(sum L,)``) of all queries one after the other and ``query_offsets
    (Q + 1,)`` where each starts, likewise ``database_...``; ``ranking.npz`` with ``indices`` and ``scores`` ``(Q, k)``;
    and ``gnd.json``, a list of ``easy``, ``hard`` and ``junk`` database rows per query.

    Raises:
        InputError: a file is missing.
    """
    for name in ("features.safetensors", "ranking.npz", "gnd.json"):
        if not (path / name).is_file():
            raise InputError(f"{path} has no {name}; write the folder with save_pairs")
    tensors = load_file(path / "features.safetensors")
    sides = []
    for side in ("query", "database"):
        bounds = tensors[f"{side}_offsets"].tolist()
        parts = [tensors[f"{side}_{part}"].float() for part in ("keypoints", "descriptors", "scores", "scales")]
        sides.append([LocalFeatures(*(part[start:stop] for part in parts)) for start, stop in pairwise(bounds)])
    with np.load(path / "ranking.npz", allow_pickle=False) as stored:
        ranking = Ranking(torch.from_numpy(stored["indices"]), torch.from_numpy(stored["scores"]))
    return Pairs(sides[0], sides[1], ranking, json.loads((path / "gnd.json").read_text()))


def simulate_pairs(queries: int, candidates: int, features: tuple[int, int], seed: int, noise: float = 0.075) -> Pairs:
    """Make queries with candidates of their own, a third of them true.

    Keypoints lie on the grids of DELG's seven image scales in an image of 1024 x 768. A feature is a visual word and a
    detail of its own, so that unrelated features match by word. A true candidate sees a share of the query's features
    (log-uniform, 2 % to 40 %) through a similarity, affine or projective transform, each moved to the nearest place of
    the grid of its scale. The global score tells true from wrong candidates by one standard deviation.

    Args:
        features: least and most features of an image.
        noise: standard deviation, per dimension, between two views of one feature; a visual word and its features
            differ by 0.09.
    """
    rng = np.random.default_rng(seed)
    words = _unit(rng.standard_normal((WORDS, DIMENSIONS)))
    images, shown, order, scores, truth = [], [], [], [], []
    for query in range(queries):
        points, scales, descriptors = _random_features(rng, words, int(rng.integers(*features)))
        shown.append(_local_features(points, scales, descriptors))
        true = rng.random(candidates) < 1 / 3
        for is_true in true:
            parts = _random_features(rng, words, int(rng.integers(*features)))
            if is_true:
                seen = rng.random(len(points)) < np.exp(rng.uniform(np.log(0.02), np.log(0.4)))
                moved = _to_grid(_transform(rng, points[seen]), scales[seen])
                noisy = _unit(descriptors[seen] + noise * rng.standard_normal((seen.sum(), DIMENSIONS)))
                inside = ((moved >= 0) & (moved < (1024, 768))).all(1)
                parts = [
                    np.concatenate((own, extra[inside]))[-len(own) :]
                    for own, extra in zip(parts, (moved, scales[seen], noisy), strict=True)
                ]
            images.append(_local_features(*parts))
        score = rng.standard_normal(candidates) + true
        best = np.argsort(-score)
        rows = query * candidates + np.arange(candidates)
        order.append(rows[best])
        scores.append(score[best])
        truth.append({"easy": rows[true].tolist(), "hard": [], "junk": []})
    ranking = Ranking(torch.from_numpy(np.stack(order)), torch.from_numpy(np.stack(scores)).float())
    return Pairs(shown, images, ranking, truth)


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def _to_grid(points: np.ndarray, scales: np.ndarray) -> np.ndarray:
    step = (STRIDE / scales)[:, None]
    return np.round(points / step) * step


def _random_features(
    rng: np.random.Generator, words: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scales = rng.choice(SCALES, size=count, p=SCALES / SCALES.sum())
    points = _to_grid(rng.uniform((0, 0), (1024, 768), size=(count, 2)), scales)
    detail = 0.09 * rng.standard_normal((count, DIMENSIONS))
    return points, scales, _unit(words[rng.integers(WORDS, size=count)] + detail)


def _transform(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Through a random view change about the image centre; every third is projective."""
    angle, zoom = rng.normal(0, 0.15), np.exp(rng.normal(0, 0.3))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[rng.uniform(0.7, 1.2), rng.normal(0, 0.1)], [0, 1]])
    middle = np.array([512, 384])
    centred = (points - middle) @ (zoom * turn @ shear).T
    if rng.random() < 1 / 3:
        centred = centred / (1 + np.clip(centred @ rng.normal(0, 4e-4, 2), -0.6, 0.6))[:, None]
    return centred + middle + rng.normal(0, 60, 2)


def _local_features(points: np.ndarray, scales: np.ndarray, descriptors: np.ndarray) -> LocalFeatures:
    parts = (torch.from_numpy(np.ascontiguousarray(part)).float() for part in (points, descriptors, scales))
    keypoints, features, scale = parts
    return LocalFeatures(keypoints, features, torch.ones(len(keypoints)), scale)
