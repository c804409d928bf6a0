"""The contract of every geometric backend, and what is the torch backend's alone."""

import math

import numpy as np
import pytest
import torch

from retrieval_bench.reranking.geometry import torch_batched
from retrieval_bench.reranking.geometry.estimator import BACKENDS, create_estimator
from retrieval_bench.reranking.geometry.hypotheses import affine_from_samples, fit_affine, fit_homography
from retrieval_bench.settings.errors import InputError

THRESHOLD = 20.0
FITS = [("torch", "affine"), ("torch", "homography"), ("opencv", "affine"), ("opencv", "homography")]
FITS += [("poselib", "homography")]
AFFINE = np.array([[0.9, 0.2, 30.0], [-0.15, 1.2, -40.0], [0.0, 0.0, 1.0]])
PROJECTIVE = np.array([[0.9, 0.2, 30.0], [-0.15, 1.2, -40.0], [3e-4, -1e-4, 1.0]])


def planted_pair(matrix, inliers, outliers, seed, noise=2.0):
    """A pair whose first matches follow `matrix`, shuffled, and which of them do."""
    rng = np.random.default_rng(seed)
    source = rng.uniform(0, 800, (inliers + outliers, 2))
    target = np.c_[source, np.ones(len(source))] @ matrix.T
    target = target[:, :2] / target[:, 2:] + rng.normal(0, noise, source.shape)
    target[inliers:] = rng.uniform(0, 800, (outliers, 2))
    order = rng.permutation(len(source))
    points = (torch.from_numpy(side[order]).float() for side in (source, target))
    return tuple(points), torch.from_numpy(order < inliers)


def build(name, transform, iterations=4000, seed=0, threshold=THRESHOLD, **options):
    return create_estimator(name, options, transform=transform, threshold=threshold, iterations=iterations, seed=seed)


def test_every_backend_is_under_contract():
    assert {name for name, _ in FITS} == set(BACKENDS.names())


@pytest.mark.parametrize(("name", "transform"), FITS)
def test_planted_transform_is_found(name, transform):
    pair, planted = planted_pair(AFFINE if transform == "affine" else PROJECTIVE, 60, 60, seed=1)
    (found,) = build(name, transform).inliers([pair])
    assert found.dtype == torch.bool
    assert found.shape == planted.shape
    assert found[planted].float().mean() > 0.95
    assert found[~planted].float().mean() < 0.1


@pytest.mark.parametrize("transform", ["affine", "homography"])
def test_one_inlier_in_ten(transform):
    recovered = 0
    for seed in range(10):
        pair, planted = planted_pair(AFFINE, 25, 225, seed=seed)
        (found,) = build("torch", transform, preference=1.0).inliers([pair])
        recovered += bool(found[planted].float().mean() > 0.9)
    assert recovered >= 9


@pytest.mark.parametrize(("name", "transform"), FITS)
def test_a_pair_alone_is_as_in_a_batch(name, transform):
    pairs = [
        planted_pair(AFFINE, inliers, outliers, seed=outliers)[0]
        for inliers, outliers in ((3, 0), (8, 20), (30, 100), (0, 40), (12, 77), (0, 2), (20, 250), (5, 5), (9, 90))
    ]
    estimator = build(name, transform, iterations=500)
    together = estimator.inliers(pairs)
    for pair, mask in zip(pairs, together, strict=True):
        assert torch.equal(estimator.inliers([pair])[0], mask)
    again = build(name, transform, iterations=500).inliers(pairs[::-1])[::-1]
    assert all(torch.equal(one, two) for one, two in zip(together, again, strict=True))


@pytest.mark.parametrize(("name", "transform"), FITS)
def test_degenerate_points_find_nothing_or_themselves(name, transform):
    rng = np.random.default_rng(0)
    free = torch.from_numpy(rng.uniform(0, 500, (30, 2))).float()
    line = torch.stack((torch.arange(30.0) * 10, torch.arange(30.0) * 5), dim=1)
    spot = torch.full((30, 2), 7.0)
    pairs = [(spot, free), (spot, spot), (line, free), (line, line), (free[:2], free[:2]), (free[:0], free[:0])]
    for (source, _), mask in zip(pairs, build(name, transform, iterations=200).inliers(pairs), strict=True):
        assert mask.shape == (len(source),)
        assert mask.dtype == torch.bool


@pytest.mark.parametrize(("name", "transform"), FITS)
def test_no_pairs(name, transform):
    assert build(name, transform, iterations=10).inliers([]) == []


def test_poselib_has_no_affine_transform():
    with pytest.raises(InputError, match="estimates homography, not affine"):
        build("poselib", "affine")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"transform": "afine"}, "did you mean 'affine'"),
        ({"threshold": 0.0}, "above 0 pixels"),
        ({"iterations": 0}, "at least 1"),
        ({"name": "open_cv"}, "did you mean 'opencv'"),
        ({"refined": 0}, "refined must be at least 1"),
        ({"preference": 0.0}, "preference must be above 0"),
        ({"max_scale": 1.0}, "max_scale must be above 1"),
        ({"refine": 3}, "did you mean 'refined'"),
        ({"name": "opencv", "method": "usak"}, "did you mean 'usac'"),
        ({"name": "opencv", "confidence": 1.0}, "between 0 and 1"),
        ({"name": "poselib", "transform": "homography", "confidence": 0.0}, "between 0 and 1"),
    ],
)
def test_impossible_values(given, message):
    with pytest.raises(InputError, match=message):
        build(**({"name": "torch", "transform": "affine"} | given))


@pytest.mark.parametrize("method", ["ransac", "usac", "magsac", "prosac"])
def test_opencv_methods(method):
    pair, planted = planted_pair(AFFINE, 60, 60, seed=3)
    (found,) = build("opencv", "affine", method=method).inliers([pair])
    assert found[planted].float().mean() > 0.9


def test_collapsing_transforms_are_refused():
    rng = np.random.default_rng(0)
    source = torch.from_numpy(rng.uniform(0, 800, (40, 2))).float()
    target = 100 + torch.from_numpy(rng.uniform(0, 5, (40, 2))).float()
    far = torch.tensor([[0.0, 0.0], [900.0, 900.0], [0.0, 900.0]])
    pair = torch.cat((source, far)), torch.cat((target, far.flip(0)))
    assert build("torch", "affine", max_scale=None).inliers([pair])[0].sum() >= 40
    assert build("torch", "affine").inliers([pair])[0].sum() < 10


def test_samples_are_distinct_and_all_alike_without_preference():
    estimator = build("torch", "affine", iterations=5000, preference=1.0)
    samples = estimator._samples(torch.tensor([3, 6]))
    assert (samples.sort(-1).values.diff(dim=-1) > 0).all()
    assert samples[0].max() == 2
    shares = torch.bincount(samples[1].flatten(), minlength=6) / samples[1].numel()
    torch.testing.assert_close(shares, torch.full((6,), 1 / 6), atol=0.02, rtol=0)


def test_preference_draws_the_first_matches_more_often():
    samples = build("torch", "affine", iterations=5000)._samples(torch.tensor([400]))
    assert 0.47 < (samples < 100).float().mean() < 0.53


def test_padding_scores_nothing():
    # What a GPU does, where the pairs of a batch share one width.
    (source, target), _ = planted_pair(AFFINE, 20, 30, seed=0)
    source, target = source[None] / 800, target[None] / 800
    matrices = torch.randn(1, 50, 2, 3, generator=torch.Generator().manual_seed(0)) * 0.1 + torch.eye(2, 3)
    limit = torch.tensor([0.01])
    alone = torch_batched._score(matrices, source, target, limit)
    padded = torch_batched._score(
        matrices,
        torch.nn.functional.pad(source, (0, 0, 0, 14)),
        torch.nn.functional.pad(target, (0, 0, 0, 14), value=math.inf),
        limit,
    )
    assert alone.max() > 0
    torch.testing.assert_close(alone, padded)


def test_fits_recover_exact_transforms():
    (source, _), _ = planted_pair(AFFINE, 12, 0, seed=0)
    source = source.double() / 400 - 1
    homogeneous = torch.cat((source, torch.ones(12, 1)), dim=1)
    affine = torch.from_numpy(AFFINE[:2])
    torch.testing.assert_close(affine_from_samples(source[:3], (homogeneous @ affine.T)[:3]), affine)
    weights = torch.ones(12, dtype=torch.float64)
    weights[5] = 0
    target = homogeneous @ affine.T
    target[5] += 3
    torch.testing.assert_close(fit_affine(source, target, weights), affine)
    moved = homogeneous @ torch.tensor([[1.0, 0.1, 0.2], [0.0, 0.9, 0.1], [0.2, 0.1, 1.0]], dtype=torch.float64).T
    target = moved[:, :2] / moved[:, 2:]
    target[5] += 3
    found = fit_homography(source[None], target[None], weights[None])[0]
    torch.testing.assert_close(found[2], torch.tensor([0.2, 0.1, 1.0], dtype=torch.float64), atol=1e-5, rtol=1e-5)
