"""Hide-and-Seek: whole positions vanish, as often as asked, by the generator that is given."""

import pytest
import torch

from retrieval_bench.methods.cvnet.hiding import hide_positions, hide_share
from retrieval_bench.settings.errors import InputError


def hidden(share, seed=0, shape=(4, 5, 20, 30)):
    return hide_positions(torch.ones(shape), share, torch.Generator().manual_seed(seed))


def test_positions_vanish_with_all_their_channels():
    maps = hidden(0.3)
    assert torch.equal(maps, maps[:, :1].expand_as(maps))
    assert set(maps.unique().tolist()) == {0.0, 1.0}
    assert 1 - maps.mean() == pytest.approx(0.3, abs=0.03)
    assert not torch.equal(maps[0], maps[1])


def test_the_seed_decides():
    assert torch.equal(hidden(0.5, seed=1), hidden(0.5, seed=1))
    assert not torch.equal(hidden(0.5, seed=1), hidden(0.5, seed=2))


def test_nothing_is_hidden_at_first():
    maps = torch.randn(1, 2, 3, 3)
    assert hide_positions(maps, 0.0) is maps


def test_half_precision_stays():
    assert hide_positions(torch.ones(1, 2, 3, 3, dtype=torch.float16), 0.5).dtype == torch.float16


def test_the_share_grows_linearly():
    assert [hide_share(progress, 0.1, 0.5) for progress in (0, 0.25, 1)] == pytest.approx([0.1, 0.2, 0.5])


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_impossible_shares(share):
    with pytest.raises(InputError, match="share of hidden positions"):
        hide_positions(torch.ones(1, 1, 2, 2), share)
    with pytest.raises(InputError, match="share of hidden positions"):
        hide_share(0.0, 0.0, share)


def test_impossible_progress():
    with pytest.raises(InputError, match=r"got 1\.5"):
        hide_share(1.5)
