"""part_name: what every method passes, and what this one promises."""

from pathlib import Path
from typing import Any

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench import contracts
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins

load_plugins([Path(__file__).with_name("part_name.py")])

IMAGES = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("which", contracts.check_names("method"))
def test_contract(which: str) -> None:
    """What every built-in method passes too."""
    contracts.check("method", "part_name", which)


@pytest.mark.parametrize("middle", ["mean", "max", "none"])
def test_descriptors_have_unit_length(middle: str) -> None:
    """Every value of the option gives descriptors."""
    model = rb.create_model("part_name", backbone="resnet10t", dim=16, middle=middle)
    described = model.describe(IMAGES)
    assert described.shape == (2, 16)
    torch.testing.assert_close(described.norm(dim=1), torch.ones(2))


def test_the_middle_stage_changes_the_descriptor() -> None:
    """The idea itself: the second half is looked at."""
    model: Any = rb.create_model("part_name", backbone="resnet10t", dim=16)
    before = model.describe(IMAGES)
    with torch.no_grad():
        model.projection.weight[:, model.pooling.out_channels :] = 0
    assert not torch.allclose(model.describe(IMAGES), before)


@pytest.mark.parametrize("options", [{"middle": "median"}, {"midle": "mean"}], ids=str)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    """Values that are impossible, or misspelt."""
    with pytest.raises(InputError):
        rb.create_model("part_name", backbone="resnet10t", **options)
