"""Tensors that are made without a device and meet others are told, without a GPU; what works on one is let be."""

import pytest
import torch

from retrieval_bench.contracts.expectations import Broken
from retrieval_bench.contracts.placement import as_on_a_device

X = torch.rand(3, 4)

WRONG = {
    "a product": lambda: X * torch.arange(4),
    "a sum in place": lambda: X.clone().add_(torch.ones(3, 4)),
    "a choice": lambda: torch.where(torch.zeros(3, 4, dtype=torch.bool), X, 0.0),
    "a gather": lambda: X.gather(1, torch.zeros(3, 1, dtype=torch.long)),
    "what was computed of it": lambda: X @ torch.eye(4).double().float(),
    "another dtype only": lambda: X + torch.arange(4).to(torch.float32),
    "a list": lambda: torch.cat([X, torch.zeros(1, 4)]),
    "a keyword": lambda: torch.nn.functional.linear(X, weight=torch.ones(2, 4)),
    "a round trip": lambda: X + torch.as_tensor(X.numpy()),
    "a column of the given one": lambda: X[0, 0] * torch.ones(4),
}

RIGHT = {
    "a device": lambda: X * torch.arange(4, device=X.device),
    "the device of another": lambda: X * torch.arange(4).to(X),
    "a device afterwards": lambda: X * torch.arange(4).to(device=X.device),
    "a type": lambda: X * torch.arange(4).type_as(X),
    "like another": lambda: X * torch.zeros_like(X) + X.new_ones(4),
    "a number": lambda: X * torch.tensor(2.0),
    "an index": lambda: X[torch.arange(3), torch.zeros(3, dtype=torch.long)],
    "a copy": lambda: X.clone().copy_(torch.ones(3, 4)),
    "a shape": lambda: X.view(int(torch.tensor(12)), len(torch.ones(1))),
    "what is given": lambda: X + torch.as_tensor(X),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_what_would_lie_on_two_devices(call):
    with pytest.raises(Broken, match="made without device= meets one that was given"), as_on_a_device():
        call()


@pytest.mark.parametrize("call", RIGHT.values(), ids=RIGHT)
def test_what_works_on_a_gpu(call):
    expected = call()
    with as_on_a_device():
        found = call()
    assert type(found) is torch.Tensor
    assert torch.equal(found, expected)


def test_gradients_pass():
    weight = torch.rand(4, requires_grad=True)
    with as_on_a_device():
        (X * weight * torch.tensor(2.0)).sum().backward()
    assert torch.allclose(weight.grad, 2 * X.sum(dim=0))
