"""Re-ranking by a network's probabilities: what moves, what is computed how often, and the published protocol."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from parity_case import load

from retrieval_bench.evaluation import evaluate
from retrieval_bench.reranking import create_reranker, list_rerankers, rerank
from retrieval_bench.reranking.candidates import LEVELS, candidate_places, passed_over
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import Ranking

CASES = Path(__file__).parents[1] / "parity" / "cvnet_rerank"


class Table:
    """A model whose maps say which image they are, and whose scores stand in a table ``(database, query)``."""

    def __init__(self, table):
        self.table = table
        self.pairs = []
        self.pyramids = 0

    def pyramid(self, maps):
        self.pyramids += len(maps)
        return maps[:, None]

    def score(self, query, key):
        rows = key[..., 0, 0].flatten().long()
        number = int(query.flatten()[0])
        self.pairs += [(number, row) for row in rows.tolist()]
        return self.table[rows, number]


class Lazy:
    """Maps ``(1, h, 1)`` that are made when asked for; the side of each says nothing but its shape."""

    def __init__(self, count, sides=(1,)):
        self.count, self.sides = count, sides
        self.asked = []

    def __len__(self):
        return self.count

    def __getitem__(self, row):
        self.asked.append(row)
        return torch.full((1, self.sides[row % len(self.sides)], 1), float(row))


def draw(queries, rows, seed=0):
    """A ranking of all rows by random scores, and a table of random probabilities."""
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.rand(queries, rows, generator=generator)
    scores, indices = similarity.sort(dim=1, descending=True)
    return Ranking(indices, scores), torch.rand(rows, queries, generator=generator)


def test_it_is_listed():
    assert "cvnet" in list_rerankers()
    assert create_reranker("cvnet", model=Table(torch.zeros(1, 1))).needs == "feature maps"


@settings(max_examples=40, deadline=None)
@given(
    top_k=st.integers(1, 14),
    mix=st.sampled_from([0.0, 0.3, 5.0]),
    chunk=st.sampled_from([1, 3, 32]),
    seed=st.integers(0, 1000),
)
def test_the_first_are_sorted_by_score_plus_probability(top_k, mix, chunk, seed):
    ranking, table = draw(3, 12, seed)
    database = Lazy(12, sides=(1, 2, 4))
    options = {"model": Table(table), "top_k": top_k, "mix": mix, "chunk": chunk}
    result = rerank("cvnet", ranking, query=Lazy(3), database=database, **options)
    for number in range(3):
        rows = ranking.indices[number, :top_k]
        new = ranking.scores[number, :top_k] + mix * table[rows, number]
        order = new.argsort(descending=True, stable=True)
        assert torch.equal(result.indices[number, :top_k], rows[order])
        torch.testing.assert_close(result.scores[number, :top_k], new[order])
    assert torch.equal(result.indices[:, top_k:], ranking.indices[:, top_k:])
    assert torch.equal(result.scores[:, top_k:], ranking.scores[:, top_k:])
    assert (result.scores.diff(dim=1) <= 0).all()


def test_equal_scores_keep_their_order():
    ranking = Ranking(torch.tensor([[2, 0, 1]]), torch.full((1, 3), 0.5))
    result = rerank("cvnet", ranking, query=Lazy(1), database=Lazy(3), model=Table(torch.full((3, 1), 0.7)))
    assert result.indices.tolist() == [[2, 0, 1]]


def test_every_image_is_read_once_also_in_later_calls():
    ranking, table = draw(4, 9)
    model, database = Table(table), Lazy(9)
    reranker = create_reranker("cvnet", model=model, top_k=5)
    for few in (slice(0, 1), slice(1, 4)):
        queries = [torch.full((1, 1, 1), float(number)) for number in range(4)][few]
        reranker(Ranking(ranking.indices[few], ranking.scores[few]), queries, database)
    assert sorted(database.asked) == sorted(set(ranking.indices[:, :5].flatten().tolist()))
    assert len(model.pairs) == 4 * 5


def test_memory_for_pyramids_is_bounded():
    ranking, table = draw(6, 9)
    bounded = Lazy(9)
    whole = rerank("cvnet", ranking, query=Lazy(6), database=Lazy(9), model=Table(table))
    reranker = create_reranker("cvnet", model=Table(table), cache_bytes=3 * 4)
    result = reranker(ranking, Lazy(6), bounded)
    assert torch.equal(result.indices, whole.indices)
    assert len(bounded.asked) > 9
    assert sum(kept.nbytes for kept in reranker.pyramids._kept.values()) == reranker.pyramids._bytes == 3 * 4


def test_another_database_is_another():
    ranking, table = draw(1, 4)
    reranker = create_reranker("cvnet", model=Table(table))
    first = reranker(ranking, Lazy(1), Lazy(4))
    mirrored = [torch.full((1, 1, 1), float(3 - row)) for row in range(4)]
    second = reranker(ranking, Lazy(1), mirrored)
    assert torch.equal(second.indices, rerank("cvnet", ranking, Lazy(1), mirrored, model=Table(table)).indices)
    assert not torch.equal(second.scores, first.scores)


class Scaled(torch.nn.Module):
    """A network of one weight: a pair scores the weight times the candidate's value."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(1.0))
        self.seen = set()

    def pyramid(self, maps):
        self.seen.add((maps.dtype, torch.is_grad_enabled()))
        return maps[:, None] * self.weight

    def score(self, query, key):
        return key.flatten(1).mean(dim=1)


def test_pyramids_go_when_the_weights_change():
    model = Scaled()
    ranking = Ranking(torch.tensor([[0, 1]]), torch.zeros(1, 2))
    reranker = create_reranker("cvnet", model=model, mix=1.0)
    maps = [torch.full((1, 1, 1), value) for value in (0.25, 0.5)]
    assert reranker(ranking, maps[:1], maps).scores.tolist() == [[0.5, 0.25]]
    with torch.no_grad():
        model.weight.mul_(0.5)
    assert reranker(ranking, maps[:1], maps).scores.tolist() == [[0.25, 0.125]]


def test_maps_come_to_the_model_in_its_precision_and_without_gradients():
    model = Scaled()
    maps = [torch.ones(1, 2, 2, dtype=torch.float16)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rerank("cvnet", Ranking(torch.zeros(1, 1).long(), torch.zeros(1, 1)), maps, maps, model=model)
    assert model.seen == {(torch.float32, False)}


def test_pyramids_may_be_given_and_the_method_itself():
    class Method(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.matcher = Scaled()

    method = Method()
    ranking = Ranking(torch.tensor([[0, 1]]), torch.zeros(1, 2))
    maps = torch.tensor([0.25, 0.5]).view(2, 1, 1, 1)
    expected = rerank("cvnet", ranking, maps[:1], maps, model=method)
    pyramids = [method.matcher.pyramid(one[None]).detach() for one in maps]
    for database in (pyramids, torch.cat(pyramids)):
        found = rerank("cvnet", ranking, pyramids[:1], database, model=method.matcher)
        assert torch.equal(found.scores, expected.scores)


@pytest.fixture(scope="module")
def protocol():
    """The case of the published protocol: ranking, scores and annotations."""
    case = load(CASES / "ground_truth_protocol")
    prefix = case.settings["prefix"]
    similarity, local = (torch.from_numpy(case.inputs[prefix + name]) for name in ("sim", "local"))
    order = torch.from_numpy(case.outputs["ranks_global"]).T.contiguous()
    annotations = [
        {kind: case.inputs[f"{prefix}gnd{number}/{kind}"] for kind in ("easy", "hard", "junk")}
        for number in range(similarity.shape[1])
    ]
    return case, Ranking(order, similarity.T.gather(1, order)), local, annotations


@pytest.mark.parametrize("top_k", [10, 25])
def test_the_published_protocol(protocol, top_k):
    case, ranking, local, annotations = protocol
    model, database = Table(local), Lazy(80, sides=(1, 3))
    options = {"protocol": "published", "ground_truth": annotations, "top_k": top_k, "model": model}
    reranker = create_reranker("cvnet", mix=case.settings["mix_ratio"], **options)
    assert reranker.uses_ground_truth
    results = reranker.by_level(ranking, Lazy(5), database)
    assert len(model.pairs) == len(set(model.pairs))
    assert len(database.asked) == len(set(database.asked))
    for level in LEVELS:
        assert_array_equal(results[level].indices.T, case.outputs[f"ranks_{level}_top{top_k}"])
        assert (results[level].scores.diff(dim=1) <= 0).all()
        evaluated = evaluate(results[level], annotations)
        figures = getattr(evaluated, f"map_{level}"), evaluated.per_query[f"ap_{level}"]
        assert_allclose(figures[0], case.outputs[f"map_{level}_top{top_k}_64"], **case.tolerance)
        assert_allclose(figures[1], case.outputs[f"ap_{level}_top{top_k}_64"], **case.tolerance)
        alone = create_reranker("cvnet", level=level, **options)(ranking, Lazy(5), Lazy(80))
        assert torch.equal(alone.indices, results[level].indices)


@pytest.mark.parametrize("top_k", [10, 25])
def test_the_published_protocol_is_the_honest_one_without_what_the_level_takes_out(protocol, top_k):
    _, ranking, local, annotations = protocol
    options = {"protocol": "published", "ground_truth": {"gnd": annotations}, "top_k": top_k}
    results = create_reranker("cvnet", model=Table(local), **options).by_level(ranking, Lazy(5), Lazy(80))
    for number, annotation in enumerate(annotations):
        for level in LEVELS:
            out = torch.tensor(passed_over(annotation, level))
            kept = ~torch.isin(ranking.indices[number], out)
            cleaned = Ranking(ranking.indices[number, None, kept], ranking.scores[number, None, kept])
            query = [torch.full((1, 1, 1), float(number))]
            honest = rerank("cvnet", cleaned, query, Lazy(80), model=Table(local), top_k=top_k)
            published = results[level].indices[number]
            assert torch.equal(honest.indices[0], published[~torch.isin(published, out)])
            assert torch.equal(torch.isin(published, out), torch.isin(ranking.indices[number], out))


def test_the_honest_protocol_has_one_ranking_for_all_levels(protocol):
    _, ranking, local, _ = protocol
    reranker = create_reranker("cvnet", model=Table(local), top_k=10)
    results = reranker.by_level(ranking, Lazy(5), Lazy(80))
    assert not reranker.uses_ground_truth
    for level in LEVELS:
        assert torch.equal(results[level].indices, reranker(ranking, Lazy(5), Lazy(80)).indices)


def test_which_rows_count():
    annotation = {"easy": [1, 2], "hard": [3], "junk": [4]}
    rows = torch.tensor([4, 1, 3, 0, 2, 5])
    counted = {level: rows[candidate_places(rows, 2, passed_over(annotation, level))].tolist() for level in LEVELS}
    assert counted == {"easy": [1, 0], "medium": [1, 3], "hard": [3, 0]}
    assert candidate_places(rows, 2).tolist() == [0, 1]
    # Junk comes before easy, easy before hard.
    twice = {"easy": [1, 4], "hard": [1], "junk": [4]}
    assert [passed_over(twice, level) for level in LEVELS] == [[4], [4], [1, 4]]


@pytest.mark.parametrize("queries", [0, 2])
def test_empty_rankings(queries):
    empty = Ranking(torch.zeros(queries, 0).long(), torch.zeros(queries, 0))
    result = rerank("cvnet", empty, query=Lazy(queries), database=Lazy(3), model=Table(torch.zeros(3, 2)))
    assert result.indices.shape == (queries, 0)


def test_the_ranking_given_is_left_alone():
    ranking, table = draw(2, 6)
    before = ranking.indices.clone(), ranking.scores.clone()
    rerank("cvnet", ranking, query=Lazy(2), database=Lazy(6), model=Table(table))
    assert torch.equal(ranking.indices, before[0])
    assert torch.equal(ranking.scores, before[1])


class Incomplete(Scaled):
    absent_weights = ("matcher.reduce.0.weight",)
    weights_source = "global.pyth"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": None}, "needs model="),
        ({"model": torch.nn.Linear(1, 1)}, "with a matcher, got Linear"),
        ({"model": Incomplete()}, "global.pyth hold no matcher"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"mix": -1.0}, "mix must be 0 or more"),
        ({"mix": float("nan")}, "mix must be 0 or more"),
        ({"cache_bytes": -1}, "cache_bytes must be 0"),
        ({"protocol": "publised"}, "published"),
        ({"protocol": "published"}, "needs ground_truth"),
        ({"ground_truth": []}, "takes no ground_truth"),
        ({"protocol": "published", "ground_truth": [], "level": "mean"}, "level"),
        ({"topk": 3}, "top_k"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(InputError, match=message):
        create_reranker("cvnet", **{"model": Scaled(), **options})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (torch.zeros(4), r"row 1: a feature map \(C, h, w\)"),
        (torch.zeros(2, 3, 1, 4, 4), "row 1: a feature map"),
        ([[0.0]], "row 1: a feature map.*got list"),
        (torch.full((1, 1, 1), float("nan")), "query 0 against database row 1: the probability is not finite"),
    ],
)
def test_wrong_maps_are_named(entry, message):
    ranking = Ranking(torch.tensor([[0, 1]]), torch.zeros(1, 2))
    with pytest.raises(InputError, match=message):
        rerank("cvnet", ranking, query=[torch.ones(1, 1, 1)], database=[torch.ones(1, 1, 1), entry], model=Scaled())


@pytest.mark.parametrize(
    ("ground_truth", "message"),
    [
        ([{"easy": [], "hard": []}], "1 entries for 2 queries"),
        ([{"easy": []}, {"easy": [], "hard": []}], "query 0 must be a mapping"),
        (3, "must be a list"),
        ({"list": []}, "must be a list"),
    ],
)
def test_ground_truth_of_something_else(ground_truth, message):
    ranking, table = draw(2, 6)
    reranker = create_reranker("cvnet", model=Table(table), protocol="published", ground_truth=ground_truth)
    with pytest.raises(InputError, match=message):
        reranker(ranking, Lazy(2), Lazy(6))
