"""The matcher's training: the loss by its formula, and that it learns what it is for."""

import pytest
import torch

from retrieval_bench.methods.cvnet.matcher import Matcher
from retrieval_bench.methods.cvnet.matching import matching_losses
from retrieval_bench.settings.errors import InputError

LABELS = torch.tensor([4, 4, 1, 2, 2, 4])


def maps(count, seed=0, size=5):
    return torch.randn(count, 8, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def matcher():
    torch.manual_seed(0)
    return Matcher(8, 6)


@torch.no_grad()
def test_two_pairs_of_every_triplet(matcher):
    feature_maps = maps(6)

    def score(query, key):
        return matcher.score(*(matcher.pyramid(feature_maps[row, None]) for row in (query, key)))[0]

    losses = matching_losses(matcher, feature_maps, LABELS)
    positive = -(score(0, 1).log() + score(3, 4).log()) / 2
    negative = -((1 - score(0, 2)).log() + (1 - score(3, 5)).log()) / 2
    expected = {"loss": positive + negative, "positive": positive, "negative": negative}
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


@torch.no_grad()
def test_hidden_positions_change_the_loss_by_the_generator(matcher):
    def loss(seed, share=0.5):
        generator = torch.Generator().manual_seed(seed)
        return matching_losses(matcher, maps(6), LABELS, share, generator)["loss"]

    assert loss(0) == loss(0)
    assert loss(0) != loss(1)
    assert loss(0, 0.0) == loss(1, 0.0)


def test_it_learns_to_tell_pairs_apart():
    torch.manual_seed(1)
    matcher = Matcher(8, 16)
    optimiser = torch.optim.Adam(matcher.parameters(), lr=3e-3)
    first = last = 0.0
    for step in range(60):
        views = maps(4, seed=step, size=6)
        # A positive is the query but for noise, a negative another image.
        noisy = views + 0.3 * maps(4, seed=1000 + step, size=6)
        triplets = torch.stack([views, noisy, noisy.roll(1, 0)], dim=1).flatten(0, 1)
        labels = torch.stack([torch.arange(4), torch.arange(4), torch.arange(4).roll(1)], dim=1).flatten()
        loss = matching_losses(matcher, triplets, labels)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first = first or loss.item()
        last = loss.item()
    assert last < 0.5 * first


def test_half_precision_under_autocast(matcher):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = matching_losses(matcher, maps(6), LABELS, 0.2)
    assert all(value.dtype == torch.float32 for value in losses.values())
    losses["loss"].backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in matcher.parameters())


@pytest.mark.parametrize("labels", [[1, 1, 1, 2, 2, 4], [1, 2, 3, 4, 4, 5], [1, 1, 2, 3]])
def test_other_batches_are_refused(matcher, labels):
    with pytest.raises(InputError, match="hard-triplets"):
        matching_losses(matcher, maps(len(labels)), torch.tensor(labels))
