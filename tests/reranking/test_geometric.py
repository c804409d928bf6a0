"""The re-ranker: what it moves, in which order, and what it refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_bench.reranking import create_reranker, list_rerankers, rerank
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.local_features import LocalFeatures
from retrieval_bench.values.ranking import Ranking

FEATURES, DIMENSIONS = 30, 32


def features(keypoints, descriptors):
    ones = torch.ones(len(keypoints))
    return LocalFeatures(keypoints, torch.nn.functional.normalize(descriptors, dim=1), ones, ones)


def image(seed, shares=None, seen=0):
    """Features at random; the first `seen` are those of `shares`, moved and a little changed."""
    generator = torch.Generator().manual_seed(seed)
    keypoints = torch.rand(FEATURES, 2, generator=generator) * 600
    descriptors = torch.randn(FEATURES, DIMENSIONS, generator=generator)
    if shares is not None:
        keypoints[:seen] = shares.keypoints[:seen] * 0.8 + 25
        descriptors[:seen] = shares.descriptors[:seen]
    return features(keypoints, descriptors)


@pytest.fixture(scope="module")
def scene():
    """Two queries and eight database images; query 0 has 0, 5, 20, 12, 20, 0, 28, 9 features in common with them."""
    queries = [image(100), image(101)]
    database = [image(row, queries[0], seen) for row, seen in enumerate((0, 5, 20, 12, 20, 0, 28, 9))]
    indices = torch.tensor([[0, 4, 2, 3, 1, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0]])
    scores = torch.linspace(0.9, 0.2, 8).expand(2, -1)
    return Ranking(indices, scores), queries, database


def test_it_is_listed():
    assert "geometric" in list_rerankers()


def test_order_is_inliers_then_global_score(scene):
    result = rerank("geometric", scene[0], query=scene[1], database=scene[2], top_k=5)
    # Rows 4 and 2 share 20 features each with query 0, and 4 came first.
    assert result.indices[0].tolist() == [4, 2, 3, 1, 0, 5, 6, 7]


def test_scores_tell_the_inliers_and_fall(scene):
    ranking, queries, database = scene
    reranker = create_reranker("geometric", top_k=5)
    result = reranker(ranking, queries, database)
    assert (result.scores.diff(dim=1) < 0).all()
    for query, rows, scores in zip(queries, result.indices.tolist(), result.scores, strict=True):
        inliers = [reranker.verify(query, database[row]).inliers for row in rows[:5]]
        assert scores[:5].floor().tolist() == inliers
    torch.testing.assert_close(result.scores[:, 5:], ranking.scores[:, 5:] - ranking.scores[:, 5:6])


def test_verify_tells_which_features_agree(scene):
    _, queries, database = scene
    verified = create_reranker("geometric").verify(queries[0], database[2])
    agreed = verified.matches[verified.inlier_mask]
    assert verified.inliers == len(agreed) >= 20
    planted = agreed[agreed[:, 0] < 20]
    assert len(planted) == 20
    assert (planted[:, 0] == planted[:, 1]).all()


@pytest.mark.parametrize("backend", ["torch", "opencv"])
def test_same_seed_same_ranking(scene, backend):
    results = [
        rerank("geometric", scene[0], query=scene[1], database=scene[2], backend=backend, seed=7) for _ in range(2)
    ]
    assert torch.equal(results[0].indices, results[1].indices)
    assert torch.equal(results[0].scores, results[1].scores)


def test_a_query_alone_is_as_among_others(scene):
    ranking, queries, database = scene
    together = rerank("geometric", ranking, query=queries, database=database)
    for number in range(2):
        one = Ranking(ranking.indices[number, None], ranking.scores[number, None])
        alone = rerank("geometric", one, query=[queries[number]], database=database)
        assert torch.equal(alone.indices[0], together.indices[number])
        assert torch.equal(alone.scores[0], together.scores[number])


@settings(max_examples=25, deadline=None)
@given(top_k=st.integers(1, 12), columns=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
def test_only_the_first_move_and_none_is_lost(scene, top_k, columns, seed):
    _, queries, database = scene
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(8)[:columns] for _ in queries])
    ranking = Ranking.from_indices(rows)
    result = rerank("geometric", ranking, query=queries, database=database, top_k=top_k, iterations=50)
    assert result.indices.shape == ranking.indices.shape
    assert torch.equal(result.indices[:, top_k:], ranking.indices[:, top_k:])
    first = ranking.indices[:, :top_k].sort(dim=1).values
    assert torch.equal(result.indices[:, :top_k].sort(dim=1).values, first)
    assert (result.scores.diff(dim=1) < 0).all()


def test_junk_is_skipped_or_removed_only_on_demand(scene):
    ranking, queries, database = scene
    one = Ranking(ranking.indices[:1], ranking.scores[:1])

    def order(**options):
        return rerank("geometric", one, query=queries[:1], database=database, top_k=3, **options).indices[0].tolist()

    assert order() == [4, 2, 0, 3, 1, 5, 6, 7]
    assert order(junk="skip", junk_rows=[[4]]) == [2, 0, 4, 3, 1, 5, 6, 7]
    assert order(junk="remove", junk_rows=[[4]]) == [2, 3, 0, 4, 1, 5, 6, 7]
    assert not create_reranker("geometric").uses_ground_truth
    assert create_reranker("geometric", junk="skip", junk_rows=[[4]]).uses_ground_truth


def test_candidates_are_read_one_at_a_time_and_no_others(scene):
    ranking, queries, database = scene

    class Store:
        read: list[int] = []  # noqa: RUF012

        def __len__(self):
            return len(database)

        def __getitem__(self, row):
            self.read.append(row)
            return database[row]

    rerank("geometric", ranking, query=queries, database=Store(), top_k=3)
    assert sorted(Store.read) == sorted(ranking.indices[:, :3].flatten().tolist())


def test_threads_of_torch_are_as_before(scene):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = rerank("geometric", scene[0], query=scene[1], database=scene[2])
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        one = rerank("geometric", scene[0], query=scene[1], database=scene[2])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one.indices, two.indices)
    assert torch.equal(one.scores, two.scores)


def test_images_without_features_have_no_inliers(scene):
    ranking, queries, database = scene
    empty = features(torch.empty(0, 2), torch.empty(0, DIMENSIONS))
    result = rerank("geometric", ranking, query=[queries[0], empty], database=[empty, *database[1:]])
    assert result.indices[1].tolist() == ranking.indices[1].tolist()
    assert result.indices[0].tolist().index(0) >= 5


def test_too_few_matches_count_nothing(scene):
    _, queries, database = scene
    matched = create_reranker("geometric").verify(queries[0], database[2])
    strict = create_reranker("geometric", min_matches=len(matched.matches) + 1).verify(queries[0], database[2])
    assert strict.inliers == 0
    assert torch.equal(strict.matches, matched.matches)


def with_nan(one, part):
    values = {name: getattr(one, name).clone() for name in ("keypoints", "descriptors", "scores", "scales")}
    values[part][0, 0] = float("nan")
    return LocalFeatures(**values)


def spoilt(scene, case):
    ranking, queries, database = scene
    match case:
        case "no query":
            return ranking, None, database
        case "fewer queries":
            return ranking, queries[:1], database
        case "small database":
            return ranking, queries, database[:5]
        case "dimensions":
            keypoints = torch.rand(9, 2)
            return ranking, queries, [*database[:4], features(keypoints, torch.randn(9, 7)), *database[5:]]
        case "nan descriptor":
            return ranking, queries, [*database[:4], with_nan(database[4], "descriptors"), *database[5:]]
        case "nan keypoint":
            return ranking, queries, [*database[:4], with_nan(database[4], "keypoints"), *database[5:]]
        case "nan score":
            return Ranking(ranking.indices, torch.full_like(ranking.scores, float("nan"))), queries, database
        case "tensors":
            return ranking, torch.rand(2, 8), database
        case "no ranking":
            return ranking.indices, queries, database


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no query", "needs query=: one LocalFeatures per image; got NoneType"),
        ("fewer queries", "has 2 queries but 1 were given"),
        ("small database", "names database row 7, but the database has 5 entries"),
        ("dimensions", "query 0 against database row 4: query descriptors have 32 dimensions"),
        ("nan descriptor", "query 0 against database row 4: local descriptors hold values that are not finite"),
        ("nan keypoint", "query 0 against database row 4: keypoints hold values that are not finite"),
        ("nan score", "the ranking of query 0 holds scores that are not finite"),
        ("tensors", "compares LocalFeatures, got Tensor"),
        ("no ranking", "needs a Ranking, got Tensor"),
    ],
)
def test_inputs_that_do_not_fit(scene, case, message):
    ranking, queries, database = spoilt(scene, case)
    with pytest.raises(InputError, match=message):
        rerank("geometric", ranking, query=queries, database=database)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"treshold": 3}, "did you mean 'threshold'"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"direction": "query-to-databse"}, "did you mean 'query-to-database'"),
        ({"junk": "removed"}, "did you mean 'remove'"),
        ({"junk": "remove"}, "needs junk_rows"),
        ({"junk_rows": [[1], [2]]}, "takes no junk_rows"),
        ({"junk": "skip", "junk_rows": [[1]]}, "1 entries for 2 queries"),
        ({"max_distance": 0.0}, "max_distance must be above 0"),
        ({"backend": "poselib"}, "estimates homography, not affine"),
        ({"backend_options": {"refind": 2}}, "did you mean 'refined'"),
    ],
)
def test_options_that_do_not_fit(scene, options, message):
    with pytest.raises(InputError, match=message):
        rerank("geometric", scene[0], query=scene[1], database=scene[2], **options)


def test_unknown_name(scene):
    with pytest.raises(InputError, match="did you mean 'geometric'"):
        rerank("geometri", scene[0], query=scene[1], database=scene[2])
