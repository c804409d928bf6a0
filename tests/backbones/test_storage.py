"""Networks built to be looked at."""

import pytest
import torch
from torch import nn

from retrieval_bench.backbones.storage import without_storage
from retrieval_bench.settings.errors import InputError


def test_nothing_is_allocated_and_no_number_drawn():
    before = torch.get_rng_state()
    assert without_storage(lambda: nn.Linear(3, 2)).weight.is_meta
    assert torch.equal(torch.get_rng_state(), before)


def test_a_constructor_that_looks_at_values_gets_some():
    def build() -> nn.Linear:
        layer = nn.Linear(3, 2)
        layer.largest = layer.weight.max().item()
        return layer

    before = torch.get_rng_state()
    assert not without_storage(build).weight.is_meta
    assert torch.equal(torch.get_rng_state(), before)


def test_a_refusal_is_passed_on():
    def build() -> nn.Linear:
        raise InputError("no such option")

    with pytest.raises(InputError, match="no such option"):
        without_storage(build)
