"""Learning rates against the published arrays and formulas; decay and rate of every parameter."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from parity_case import load
from torch import nn

from retrieval_bench.methods.optimisation import configure, learning_rate, parameter_groups
from retrieval_bench.settings.recipe import Recipe

CASE = load(Path(__file__).parents[1] / "parity" / "spca" / "lr_schedule")


class Net(nn.Module):
    """Every kind of parameter that decay tells apart."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.pooling = nn.Module()
        self.pooling.p = nn.Parameter(torch.full((1,), 3.0))
        self.pooling.whiten = nn.Linear(4, 4)
        self.bias_of_odd_shape = nn.Module()
        self.bias_of_odd_shape.bias = nn.Parameter(torch.zeros(2, 2))
        self.frozen = nn.Parameter(torch.zeros(3, 3), requires_grad=False)


def rates(recipe: Recipe, steps: int) -> np.ndarray:
    factor = learning_rate(recipe, steps)
    return np.array([recipe.lr * factor(step) for step in range(steps)])


@pytest.mark.parametrize("config", CASE.settings["configs"], ids=lambda config: config["name"])
def test_warmup_cosine_equals_spca(config):
    """The array is a function of optimiser steps; SpCa multiplies its rates by the accumulated batches."""
    times = config["update_every"]
    per_epoch = config["batches_per_epoch"] // times
    recipe = Recipe(
        epochs=config["num_epochs"],
        warmup_epochs=config["warmup_epochs"],
        lr=config["base_lr"] * times,
        warmup_lr=config["warmup_lr"] * times,
        final_lr=config["final_lr"] * times,
    )
    expected = CASE.outputs[f"schedule.{config['name']}"]
    assert_allclose(rates(recipe, per_epoch * config["num_epochs"]), expected, **CASE.tolerance)


@pytest.mark.parametrize(
    ("per_epoch", "epochs", "warmup"), [(7, 5, 2), (1, 5, 2), (3, 4, 0), (3, 4, 4), (2, 2, 0.5), (1, 3, 1)]
)
def test_warmup_cosine_is_spca_s_formula(per_epoch, epochs, warmup):
    recipe = Recipe(epochs=epochs, warmup_epochs=warmup, lr=0.05, warmup_lr=0.001, final_lr=0.0002)
    first = round(warmup * per_epoch)
    rest = per_epoch * epochs - first
    cosine = 0.0002 + 0.5 * (0.05 - 0.0002) * (1 + np.cos(np.pi * np.arange(rest) / max(1, rest)))
    expected = np.concatenate([np.linspace(0.001, 0.05, first), cosine])
    assert_allclose(rates(recipe, per_epoch * epochs), expected, rtol=1e-9)


def test_epoch_cosine_is_delg_pytorch_s():
    recipe = Recipe(epochs=100, lr=0.01, schedule="epoch-cosine", warmup_epochs=5)
    per_epoch = rates(recipe, 700).reshape(100, 7)
    assert (per_epoch == per_epoch[:, :1]).all()
    assert_allclose(per_epoch[:6, 0], [0.001, 0.002799, 0.004595, 0.006386, 0.008168, 0.009938], atol=5e-7)
    assert_allclose(per_epoch[5:, 0], [0.005 * (1 + math.cos(math.pi * e / 100)) for e in range(5, 100)], rtol=1e-9)


def test_exponential_is_cirtorch_s():
    recipe = Recipe(epochs=4, lr=5e-7, schedule="exponential", gamma=math.exp(-0.01), warmup_epochs=0)
    expected = 5e-7 * np.exp(-0.01 * np.repeat(np.arange(1, 5), 3))
    assert_allclose(rates(recipe, 12), expected, rtol=1e-9)


def test_linear_falls_towards_the_final_rate():
    assert_allclose(rates(Recipe(epochs=2, lr=0.01, schedule="linear"), 4), [0.01, 0.0075, 0.005, 0.0025])
    recipe = Recipe(epochs=2, lr=0.01, final_lr=0.002, schedule="linear")
    assert recipe.lr * learning_rate(recipe, 4)(4) == pytest.approx(0.002)


def test_constant_is_constant():
    assert rates(Recipe(epochs=2, lr=0.3, schedule="constant"), 6).tolist() == [0.3] * 6


@pytest.mark.parametrize("schedule", ["warmup-cosine", "epoch-cosine", "exponential", "linear", "constant"])
@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (0, 0), (3, 2), (2, 5), (30, 30)])
def test_any_length_has_finite_rates(schedule, epochs, steps):
    recipe = Recipe(epochs=epochs, schedule=schedule)
    # Optimisers ask for the rate once more than there are steps.
    found = [learning_rate(recipe, steps)(step) for step in range(steps + 1)]
    assert all(math.isfinite(rate) and rate >= 0 for rate in found)


def assigned(recipe: Recipe) -> dict[str, tuple[float, float]]:
    model = Net()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["weight_decay"], group["lr"])
        for group in parameter_groups(model, recipe)
        for parameter in group["params"]
    }


def test_vectors_and_biases_are_exempt_from_decay():
    found = assigned(Recipe(weight_decay=0.1, lr=0.5))
    decays = {name: decay for name, (decay, _) in found.items()}
    assert decays == {
        "conv.weight": 0.1,
        "conv.bias": 0.0,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
        "pooling.p": 0.0,
        "pooling.whiten.weight": 0.1,
        "pooling.whiten.bias": 0.0,
        "bias_of_odd_shape.bias": 0.0,
    }
    assert {rate for _, rate in found.values()} == {0.5}


def test_or_none_is():
    assert {decay for decay, _ in assigned(Recipe(weight_decay=0.1, decay="all")).values()} == {0.1}


@pytest.mark.parametrize("decay", ["weights", "all"])
def test_the_pooling_learns_at_its_own_rate_without_decay(decay):
    found = assigned(Recipe(weight_decay=0.1, lr=0.5, decay=decay, pooling_lr_factor=10))
    pooled = {name: value for name, value in found.items() if name.startswith("pooling.")}
    assert set(pooled.values()) == {(0.0, 5.0)}
    assert len(pooled) == 3
    assert found["conv.weight"] == (0.1, 0.5)
    assert all(rate == 0.5 for name, (_, rate) in found.items() if name not in pooled)


@pytest.mark.parametrize(
    ("optimiser", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimiser_steps_through_the_schedule(optimiser, kind):
    recipe = Recipe(optimiser=optimiser, epochs=2, lr=0.5, schedule="linear", pooling_lr_factor=10, momentum=0.7)
    configured = configure(Net(), recipe, 4)
    stepper, schedule = configured["optimizer"], configured["lr_scheduler"]
    assert type(stepper) is kind
    assert schedule["interval"] == "step"
    seen = []
    for _ in range(4):
        seen.append(sorted({group["lr"] for group in stepper.param_groups}))
        stepper.step()
        schedule["scheduler"].step()
    assert_allclose(seen, [[0.5 * share, 5.0 * share] for share in (1, 0.75, 0.5, 0.25)])
    if optimiser == "sgd":
        assert {(group["momentum"], group["nesterov"]) for group in stepper.param_groups} == {(0.7, True)}


def test_sgd_without_momentum_is_possible():
    stepper = configure(Net(), Recipe(momentum=0.0), 4)["optimizer"]
    assert not stepper.param_groups[0]["nesterov"]


def test_batch_attention_has_a_rate_of_its_own():
    model = nn.Module()
    model.loss = nn.Linear(2, 2)
    model.loss.batch_attention = nn.Linear(2, 2)
    groups = parameter_groups(model, Recipe(lr=1.0, batch_attention_lr_factor=0.1))
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert rates[id(model.loss.weight)] == 1.0
    assert rates[id(model.loss.batch_attention.weight)] == 0.1
    assert decays[id(model.loss.batch_attention.weight)] == decays[id(model.loss.weight)] > 0
