"""Geometric verification against the published code of DELG (TensorFlow) and its PyTorch re-implementation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity_case import load

from retrieval_bench.reranking import create_reranker
from retrieval_bench.reranking.matching import match_descriptors
from retrieval_bench.values.local_features import LocalFeatures
from retrieval_bench.values.ranking import Ranking

FOLDER = Path(__file__).parents[1] / "parity" / "delg_rerank" / "spatial_verification"
PUBLISHED = {
    "tf": {"transform": "affine", "max_distance": 1.0, "min_matches": 4},
    "pt": {
        "transform": "homography",
        "max_distance": 0.99,
        "min_matches": 5,
        "direction": "query-to-database",
    },
}
RANGES = {"tf": "affine", "pt": "pydegensac"}
FITS = [("tf", "torch"), ("tf", "opencv"), ("pt", "torch"), ("pt", "opencv"), ("pt", "poselib")]


@pytest.fixture(scope="module")
def case():
    return load(FOLDER)


def features(case, name):
    descriptors = torch.from_numpy(case.inputs[f"{name}_descriptors"])
    count = len(descriptors)
    # The case stores (y, x).
    keypoints = torch.from_numpy(case.inputs[f"{name}_locations"]).flip(1)
    return LocalFeatures(keypoints, descriptors, torch.ones(count), torch.ones(count))


def by_query_row(pairs):
    return pairs[pairs[:, 0].argsort()]


@pytest.fixture(scope="module")
def images(case):
    database = [features(case, f"index{number}") for number in range(case.settings["num_index"])]
    return features(case, "query"), database


@pytest.fixture(scope="module")
def ranking(case):
    order = torch.from_numpy(case.outputs["global_order"]).long()[None]
    return Ranking(order, torch.from_numpy(case.inputs["global_scores"])[order])


@pytest.mark.parametrize(
    ("output", "rule"),
    [("tf_pairs", {"max_distance": 1.0}), ("ratio0.95_pairs", {"max_distance": None, "max_ratio": 0.95})],
)
def test_putative_pairs(case, images, output, rule):
    query, database = images
    for number, candidate in enumerate(database):
        found = by_query_row(match_descriptors(query.descriptors, candidate.descriptors, **rule))
        np.testing.assert_array_equal(found.numpy(), case.outputs[f"putative_{output}_{number}"])


def test_putative_points_at_the_distance_of_the_pytorch_code(case, images):
    query, database = images
    for number, candidate in enumerate(database):
        found = by_query_row(match_descriptors(query.descriptors, candidate.descriptors, max_distance=0.99))
        for side, points in ((query, "query"), (candidate, "index")):
            column = 0 if points == "query" else 1
            yx = side.keypoints[found[:, column]].flip(1)
            np.testing.assert_array_equal(yx.numpy(), case.outputs[f"putative_pt_{points}_xy_{number}"])


@pytest.mark.parametrize(("code", "backend"), FITS)
def test_inliers(case, images, code, backend):
    query, database = images
    reranker = create_reranker("geometric", backend=backend, iterations=1000, **PUBLISHED[code])
    inliers = np.array([reranker.verify(query, candidate).inliers for candidate in database])
    assert (inliers >= case.outputs[f"inliers_{RANGES[code]}_min"] - 2).all(), inliers
    assert (inliers <= case.outputs[f"inliers_{RANGES[code]}_max"] + 2).all(), inliers


@pytest.mark.parametrize(("code", "backend"), FITS)
@pytest.mark.parametrize("junk", ["keep", "published"])
def test_orders(case, images, ranking, code, backend, junk):
    query, database = images
    options = {"backend": backend, "iterations": 1000, **PUBLISHED[code]}
    if junk == "published":
        options |= {"junk": "remove" if code == "tf" else "skip", "junk_rows": [case.settings["junk_ids"]]}
    expected = {
        ("tf", "keep"): case.outputs["tf_order_no_junk_list"],
        ("tf", "published"): case.outputs["tf_order_with_junk_removed"],
        ("pt", "published"): case.outputs["pt_order"],
        # The published code has no such mode: as with junk, but the junk image, with most inliers, comes first.
        ("pt", "keep"): [8, *(row for row in case.outputs["pt_order"] if row != 8)],
    }[code, junk]
    reranker = create_reranker("geometric", **options)
    assert reranker.uses_ground_truth == (junk == "published")
    np.testing.assert_array_equal(reranker(ranking, [query], database).indices[0].numpy(), expected)
