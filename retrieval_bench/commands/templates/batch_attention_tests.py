"""part_name: what every batch attention passes, and what this one promises."""

from pathlib import Path

import pytest
import torch

from retrieval_bench import contracts
from retrieval_bench.batch_attention import BATCH_ATTENTIONS
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins

load_plugins([Path(__file__).with_name("part_name.py")])

DESCRIPTORS = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize("which", contracts.check_names("batch_attention"))
def test_contract(which: str) -> None:
    """What every built-in batch attention passes too."""
    contracts.check("batch_attention", "part_name", which)


def test_without_a_share_both_streams_are_the_batch() -> None:
    """A special case that is known."""
    ours = BATCH_ATTENTIONS.create("part_name", {"share": 0.0}, dim=8)
    rows, labels = ours(DESCRIPTORS, LABELS)
    torch.testing.assert_close(rows, DESCRIPTORS.repeat(2, 1))
    assert labels.tolist() == [0, 0, 1, 1, 2, 2] * 2


def test_at_a_high_temperature_all_borrow_the_mean() -> None:
    """A limit that is known."""
    ours = BATCH_ATTENTIONS.create("part_name", {"share": 1.0, "temperature": 1e6}, dim=8)
    rows, _ = ours(DESCRIPTORS, LABELS)
    torch.testing.assert_close(rows[6:], DESCRIPTORS.mean(dim=0).expand(6, 8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"share": "half"}, {"shares": 1.0}], ids=str)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    """Values that are impossible, of another kind, or misspelt."""
    with pytest.raises(InputError):
        BATCH_ATTENTIONS.create("part_name", options, dim=8)
