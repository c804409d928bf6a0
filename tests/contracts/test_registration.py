"""What torch does not know of is found, wherever a module keeps it."""

import pytest
import torch
from torch import nn

from retrieval_bench.contracts.expectations import Broken
from retrieval_bench.contracts.registration import require_registered


def module(**attributes) -> nn.Module:
    made = nn.Sequential(nn.Linear(2, 2))
    for key, value in attributes.items():
        setattr(made[0], key, value)
    return made


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(2),
        [torch.ones(2, requires_grad=True)],
        {"a": (torch.ones(2),)},
        [nn.Linear(2, 2)],
        {"a": nn.Linear(2, 2)},
    ],
    ids=["tensor", "list", "nested", "layers", "named layers"],
)
def test_what_is_left_behind(value):
    with pytest.raises(Broken, match=r"^0\.spare is not registered"):
        require_registered(module(spare=value))


def test_what_is_registered_or_no_tensor():
    made = module(rates=[0.1, 0.2], names={"a": 1}, layer=nn.Linear(2, 2), scale=nn.Parameter(torch.ones(1)))
    made.register_buffer("count", torch.zeros(1), persistent=False)
    made.both = [made[0].weight, made[0]]  # a further name of what is registered
    require_registered(made)
