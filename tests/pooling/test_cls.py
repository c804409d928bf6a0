"""The class token as a descriptor."""

import pytest
import torch

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.cls import ClassToken
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.features import Features


def test_it_is_the_first_token() -> None:
    tokens = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))
    head = ClassToken(8, 6)
    assert head.out_channels == 6
    assert torch.equal(head(torch.zeros(2, 8, 3, 4), tokens), tokens[:, 0])
    assert head.state_dict() == {}


def test_it_asks_for_tokens_alone() -> None:
    tokens = torch.zeros(2, 1, 6)
    head = POOLINGS.create("cls", {}, in_channels=8, earlier_channels=None, token_channels=6)
    (given,) = head.needed(Features((torch.zeros(2, 8, 1, 1),), tokens))
    assert given is tokens


def test_without_tokens_there_is_none() -> None:
    with pytest.raises(InputError, match="'cls' needs token_channels"):
        POOLINGS.create("cls", {}, in_channels=8)
