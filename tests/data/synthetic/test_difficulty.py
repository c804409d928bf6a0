"""Colour alone must not solve the dataset."""

import cv2
import numpy as np
import pytest

from retrieval_bench.data.registry import load_dataset


def histogram(path, box):
    image = cv2.imread(str(path))
    if box is not None:
        x0, y0, x1, y1 = (round(value) for value in box)
        image = image[y0:y1, x0:x1]
    small = cv2.cvtColor(cv2.resize(image, (96, 96), interpolation=cv2.INTER_CUBIC), cv2.COLOR_BGR2HSV)
    counts = cv2.calcHist([small], [0, 1, 2], None, [8, 4, 4], [0, 180, 0, 256, 0, 256]).ravel()
    return np.sqrt(counts / counts.sum())


def mean_average_precision(similarity, ground_truth):
    """Medium: junk removed, easy and hard positive, AP by trapezoids."""
    found = []
    for scores, entry in zip(similarity, ground_truth, strict=True):
        ranked = [row for row in np.argsort(-scores, kind="stable") if row not in entry["junk"]]
        ranks = [rank for rank, row in enumerate(ranked) if row in entry["easy"] + entry["hard"]]
        before = [1.0 if rank == 0 else j / rank for j, rank in enumerate(ranks)]
        after = [(j + 1) / (rank + 1) for j, rank in enumerate(ranks)]
        found.append((sum(before) + sum(after)) / (2 * len(ranks)))
    return float(np.mean(found))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return load_dataset(
        "synthetic", root=tmp_path_factory.mktemp("synthetic"), train_landmarks=0, validation_landmarks=0,
        test_landmarks=14, queries_per_landmark=1, database_images_per_landmark=6, lookalikes=4,
        images_per_lookalike=3, distractors=40, image_size=128,
    )  # fmt: skip


def test_a_colour_histogram_does_not_solve_it(dataset):
    queries = np.stack([histogram(*pair) for pair in zip(dataset.queries.paths, dataset.queries.boxes, strict=True)])
    database = np.stack([histogram(path, None) for path in dataset.database.paths])
    assert mean_average_precision(queries @ database.T, dataset.ground_truth) < 0.35


def test_an_oracle_solves_it(dataset):
    perfect = np.zeros((len(dataset.queries), len(dataset.database)))
    for scores, entry in zip(perfect, dataset.ground_truth, strict=True):
        scores[entry["easy"] + entry["hard"]] = 1.0
    assert mean_average_precision(perfect, dataset.ground_truth) == pytest.approx(1.0)


def test_levels_are_all_there(dataset):
    sizes = {level: sum(len(entry[level]) for entry in dataset.ground_truth) for level in ("easy", "hard", "junk")}
    assert min(sizes.values()) >= len(dataset.queries) / 2
    assert all(entry["easy"] + entry["hard"] for entry in dataset.ground_truth)
