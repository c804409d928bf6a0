"""Attention and perceptron against naive loops."""

import torch
from numpy.testing import assert_allclose

from retrieval_bench.pooling.spca.attention import Attention, Perceptron


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def disturbed(module: torch.nn.Module) -> torch.nn.Module:
    for seed, parameter in enumerate(module.parameters()):
        parameter.data = 0.3 * drawn(*parameter.shape, seed=seed)
    return module.double()


@torch.no_grad()
def test_attention_head_by_head():
    module, queries, context = disturbed(Attention(6, 2)), drawn(1, 4, 6), drawn(1, 5, 6, seed=9)
    query, key, value = module.query(queries[0]), module.key(context[0]), module.value(context[0])
    joined = torch.zeros(4, 6, dtype=torch.float64)
    for head in range(2):
        part = slice(3 * head, 3 * head + 3)
        for row in range(4):
            scores = torch.stack([query[row, part] @ key[column, part] / 3**0.5 for column in range(5)])
            shares = scores.exp() / scores.exp().sum()
            joined[row, part] = sum(shares[column] * value[column, part] for column in range(5))
    assert_allclose(module(queries, context)[0], module.output(joined), rtol=1e-9)


@torch.no_grad()
def test_attention_takes_no_notice_of_the_order_of_the_context():
    module, queries, context = disturbed(Attention(8, 4)), drawn(2, 4, 8), drawn(2, 7, 8, seed=9)
    shuffled = context[:, torch.randperm(7, generator=torch.Generator().manual_seed(0))]
    assert_allclose(module(queries, shuffled), module(queries, context), rtol=1e-9)


def test_how_attention_starts():
    module = Attention(64, 8)
    assert not module.output.weight.any()
    for layer in (module.query, module.key, module.value):
        assert 0.018 < float(layer.weight.detach().std()) < 0.022
        assert not layer.bias.any()
    assert not module(torch.ones(1, 3, 64), torch.ones(1, 3, 64)).any()


@torch.no_grad()
def test_the_perceptron_has_an_exact_gelu_between():
    module, values = disturbed(Perceptron(4)), drawn(3, 4)
    hidden = values @ module.hidden.weight.T + module.hidden.bias
    assert hidden.shape == (3, 8)
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    assert_allclose(module(values), hidden @ module.output.weight.T + module.output.bias, rtol=1e-9)
