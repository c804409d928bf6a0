"""The re-ranking network: any size, any batch, both directions, trainable, and the published names."""

from pathlib import Path

import pytest
import torch
from parity_case import load

from retrieval_bench.methods.cvnet import matcher as matcher_module
from retrieval_bench.methods.cvnet.matcher import Matcher, matcher_key
from retrieval_bench.settings.errors import InputError

CASES = Path(__file__).parents[2] / "parity" / "cvnet_rerank"


@pytest.fixture(scope="module")
def matcher():
    torch.manual_seed(0)
    return Matcher(8, 6)


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SIZES = [(1, 1), (1, 6), (2, 1), (3, 3), (13, 9), (2, 60)]


@pytest.mark.parametrize("one", SIZES)
@pytest.mark.parametrize("other", [(1, 1), (5, 4)])
@torch.no_grad()
def test_any_two_sizes(matcher, one, other):
    query, key = matcher.pyramid(maps(1, 8, *one)), matcher.pyramid(maps(1, 8, *other, seed=1))
    assert query.shape == (1, 3, 6, *one)
    for score in (matcher.score(query, key), matcher.score(key, query)):
        assert score.shape == (1,)
        assert 0 < score < 1


@torch.no_grad()
def test_an_image_of_8_by_500_pixels_has_one_row(matcher):
    thin = matcher.pyramid(maps(1, 8, 1, 32))
    assert torch.isfinite(matcher.score(thin, thin)).all()


@torch.no_grad()
def test_pairs_do_not_see_each_other(matcher):
    query, key = matcher.pyramid(maps(3, 8, 6, 5)), matcher.pyramid(maps(3, 8, 4, 7, seed=1))
    together = matcher.score(query, key)
    alone = torch.cat([matcher.score(query[row, None], key[row, None]) for row in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert together.unique().numel() == 3


@torch.no_grad()
def test_one_query_against_many(matcher):
    query, keys = matcher.pyramid(maps(1, 8, 6, 5)), matcher.pyramid(maps(4, 8, 4, 7, seed=1))
    for one, other in ((query, keys), (keys, query)):
        each = matcher.logits(one.expand(4, *one.shape[1:]), other.expand(4, *other.shape[1:]))
        torch.testing.assert_close(matcher.logits(one, other), each, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pairs", [1, 30 * 28, 3 * 30 * 28])
@torch.no_grad()
def test_scores_computed_a_few_at_a_time(matcher, monkeypatch, pairs):
    query, keys = matcher.pyramid(maps(1, 8, 6, 5)), matcher.pyramid(maps(5, 8, 4, 7, seed=1))
    whole = matcher.logits(query, keys).softmax(dim=1)[:, 1]
    monkeypatch.setitem(matcher_module.POSITION_PAIRS, "cpu", pairs)
    torch.testing.assert_close(matcher.score(query, keys), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(matcher.score(keys, keys), matcher.logits(keys, keys).softmax(dim=1)[:, 1])


@torch.no_grad()
def test_training_mode_changes_nothing(matcher):
    query, key = matcher.pyramid(maps(1, 8, 6, 5)), matcher.pyramid(maps(1, 8, 4, 7, seed=1))
    assert torch.equal(matcher.train().score(query, key), matcher.eval().score(query, key))


def test_every_parameter_learns():
    matcher = Matcher(8, 6)
    logits = matcher.logits(matcher.pyramid(maps(2, 8, 9, 8)), matcher.pyramid(maps(2, 8, 7, 9, seed=1)))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    gradients = {name: parameter.grad for name, parameter in matcher.named_parameters()}
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    silent = [name for name, gradient in gradients.items() if not gradient.any()]
    assert silent == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@torch.no_grad()
def test_other_precisions(matcher, dtype):
    other = Matcher(8, 6).to(dtype)
    other.load_state_dict(matcher.state_dict())
    feature_maps = maps(2, 8, 6, 5)
    expected = matcher.score(matcher.pyramid(feature_maps), matcher.pyramid(feature_maps.flip(0)))
    given = feature_maps.to(dtype)
    found = other.score(other.pyramid(given), other.pyramid(given.flip(0)))
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found.float(), expected, rtol=2e-2, atol=2e-2)


def test_published_names_and_ours_are_one_to_one():
    published = list(load(CASES / "featuremaps").state_dict)
    translated = [matcher_key(key) for key in published]
    assert sorted(translated) == sorted(Matcher(4, 2).state_dict())
    whole = load(CASES / "r50_pair").state_dict
    assert [key for key in whole if matcher_key(key) is not None] == published
    assert matcher_key("cv_learner.block5.0.conv1.weight") is None


@pytest.mark.parametrize("shape", [(8, 4, 4), (1, 7, 4, 4), (1, 8, 0, 4)])
def test_wrong_maps_are_named(matcher, shape):
    with pytest.raises(InputError, match=r"feature maps \(B, 8, h, w\)"):
        matcher.pyramid(torch.zeros(shape))


def test_wrong_pairs_are_named(matcher):
    pyramids = matcher.pyramid(maps(3, 8, 4, 4))
    with pytest.raises(InputError, match="3 queries and 2 keys"):
        matcher.score(pyramids, pyramids[:2])
    for wrong in (maps(1, 8, 4, 4), pyramids[:0], pyramids[:, :2], pyramids[:, :, :5]):
        with pytest.raises(InputError, match="compares pyramids"):
            matcher.score(pyramids, wrong)
