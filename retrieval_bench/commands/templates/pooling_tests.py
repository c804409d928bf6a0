"""part_name: what every pooling passes, and what this one promises."""

from pathlib import Path

import pytest
import torch

from retrieval_bench import contracts
from retrieval_bench.pooling import POOLINGS
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins

load_plugins([Path(__file__).with_name("part_name.py")])

MAPS = torch.rand(2, 8, 5, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("which", contracts.check_names("pooling"))
def test_contract(which: str) -> None:
    """What every built-in pooling passes too."""
    contracts.check("pooling", "part_name", which)


def test_without_sharpness_it_is_gem() -> None:
    """A special case that is known."""
    ours = POOLINGS.create("part_name", {"p": 3.0, "sharpness": 0.0}, in_channels=8)
    gem = POOLINGS.create("gem", {"p": 3.0}, in_channels=8)
    torch.testing.assert_close(ours(MAPS), gem(MAPS))


@pytest.mark.parametrize("strength", ["mean", "max"])
def test_much_sharpness_chooses_the_strongest_position(strength: str) -> None:
    """A limit that is known."""
    options = {"sharpness": 1000.0, "strength": strength}
    maps = MAPS.clone()
    maps[:, :, 2, 1] += 1
    ours = POOLINGS.create("part_name", options, in_channels=8)
    torch.testing.assert_close(ours(maps), maps[:, :, 2, 1])


@pytest.mark.parametrize("options", [{"p": 0.0}, {"p": "high"}, {"strength": "median"}, {"sharpnes": 1.0}], ids=str)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    """Values that are impossible, of another kind, or misspelt."""
    with pytest.raises(InputError):
        POOLINGS.create("part_name", options, in_channels=8)
