"""part_name: what every loss passes, and what this one promises."""

from pathlib import Path

import pytest
import torch

from retrieval_bench import contracts
from retrieval_bench.losses import LOSSES
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins

load_plugins([Path(__file__).with_name("part_name.py")])

COSINES = torch.tensor([[0.9, 0.1, -0.3], [0.2, -0.5, 0.4]])
LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize("which", contracts.check_names("loss"))
def test_contract(which: str) -> None:
    """What every built-in loss passes too."""
    contracts.check("loss", "part_name", which)


def test_without_growth_it_is_cosface() -> None:
    """A special case that is known."""
    ours = LOSSES.create("part_name", {"margin": 0.2, "growth": 0.0}, dim=4, num_classes=3)
    cosface = LOSSES.create("cosface", {"margin": 0.2}, dim=4, num_classes=3)
    torch.testing.assert_close(ours.margin_logits(COSINES, LABELS), cosface.margin_logits(COSINES, LABELS))


def test_an_easy_image_has_the_larger_margin() -> None:
    """The idea itself."""
    ours = LOSSES.create("part_name", {"margin": 0.2, "growth": 2.0}, dim=4, num_classes=3)
    taken = (COSINES - ours.margin_logits(COSINES, LABELS)).gather(1, LABELS.view(-1, 1)).flatten()
    torch.testing.assert_close(taken, torch.tensor([0.2 * 0.95**2, 0.2 * 0.25**2]))


@pytest.mark.parametrize("options", [{"growth": -1.0}, {"margin": "wide"}, {"grwth": 1.0}], ids=str)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    """Values that are impossible, of another kind, or misspelt."""
    with pytest.raises(InputError):
        LOSSES.create("part_name", options, dim=4, num_classes=3)
