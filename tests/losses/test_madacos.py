"""MadaCos against the published code's numbers, its own statements, and the corners where that code breaks."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity_case import load
from torch import Tensor

from retrieval_bench.losses import LOSSES
from retrieval_bench.losses.madacos import MadaCos, adaptive_margin, adaptive_scale, log_backgrounds, pooled_background
from retrieval_bench.settings.errors import InputError

CASE = load(Path(__file__).parents[1] / "parity" / "madacos" / "loss")
BACKGROUNDS = {"default": "median-sample", "median": "median", "mean": "mean"}
DIM, CLASSES = 24, 9


def expected(key: str) -> Tensor:
    return torch.from_numpy(np.asarray(CASE.outputs[key]))


@pytest.mark.parametrize("variant", CASE.settings["variants"], ids=lambda variant: variant["name"])
def test_published_code(variant: dict) -> None:
    weight = torch.from_numpy(CASE.state_dict["desc_cls.weight"])
    noise, labels, multiplier = (
        torch.from_numpy(CASE.inputs[CASE.settings[key]]) for key in ("noise", "label", "multiplier")
    )
    own = weight[labels] * multiplier[:, None]
    features = (noise * variant["noise_gain"] + own * variant["class_gain"]).requires_grad_()
    options = {"alpha": variant["alpha"], "background": BACKGROUNDS[variant["B"]]}
    loss = LOSSES.create("madacos", options, dim=weight.shape[1], num_classes=len(weight))
    loss.load_state_dict({"weight": weight})
    loss.train(variant["training"])
    logits = loss.logits(features, labels)
    value = F.cross_entropy(logits, labels)
    value.backward()
    name = variant["name"]
    for key in ("scale", "margin", "median"):
        torch.testing.assert_close(loss.last[key], expected(f"{key}.{name}").squeeze(), **CASE.tolerance)
    torch.testing.assert_close(loss.last["log_background"].exp(), expected(f"B.{name}").squeeze(), **CASE.tolerance)
    torch.testing.assert_close(logits.detach(), expected(f"logits.{name}"), **CASE.tolerance)
    torch.testing.assert_close(value.detach(), expected(f"loss.{name}"), **CASE.tolerance)
    torch.testing.assert_close(loss(features, labels).detach(), expected(f"loss.{name}"), **CASE.tolerance)
    torch.testing.assert_close(features.grad, expected(f"grad_features.{name}"), **CASE.tolerance)
    torch.testing.assert_close(loss.weight.grad, expected(f"grad_weight.{name}"), **CASE.tolerance)


def create(**options: object) -> MadaCos:
    torch.manual_seed(0)
    return LOSSES.create("madacos", options, dim=DIM, num_classes=CLASSES)


def batch(loss: MadaCos, noise: float, count: int = 12) -> tuple[Tensor, Tensor]:
    """Descriptors near their class weights, in float64."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    centres = F.normalize(loss.weight.detach().double(), dim=1)[labels]
    return centres + noise * torch.randn(count, DIM, generator=generator, dtype=torch.float64), labels


@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.5])
def test_the_median_image_has_probability_alpha_and_a_perfect_one_the_certainty(alpha: float) -> None:
    loss = create(alpha=alpha)
    descriptors, labels = batch(loss, 0.15, count=13)
    probabilities = loss.logits(descriptors, labels).detach().softmax(dim=1).gather(1, labels[:, None])[:, 0]
    own = loss.cosines(descriptors).gather(1, labels[:, None])[:, 0]
    row = own.median(dim=0).indices
    assert float(loss.last["margin"]) > 0
    assert float(probabilities[row]) == pytest.approx(alpha)
    scale, margin, log_sum = (float(loss.last[key]) for key in ("scale", "margin", "log_background"))
    odds = math.exp(scale * (1 - margin) - log_sum)
    assert odds == pytest.approx(9999999)


def test_the_lower_median_of_an_even_batch() -> None:
    loss = create()
    descriptors, labels = batch(loss, 0.2, count=8)
    loss(descriptors, labels)
    own = sorted(loss.cosines(descriptors).gather(1, labels[:, None])[:, 0].tolist())
    assert float(loss.last["median"]) == own[3]


def test_no_gradient_through_scale_and_margin() -> None:
    loss = create()
    descriptors, labels = batch(loss, 0.15)
    descriptors.requires_grad_()
    loss(descriptors, labels).backward()
    scale, margin = (float(loss.last[key]) for key in ("scale", "margin"))
    assert scale > 32
    assert margin > 0
    again = descriptors.detach().clone().requires_grad_()
    constant = scale * (loss.cosines(again) - margin * F.one_hot(labels, CLASSES).double())
    F.cross_entropy(constant, labels).backward()
    torch.testing.assert_close(descriptors.grad, again.grad)


def test_evaluation_has_the_scale_but_no_margin() -> None:
    loss = create().eval()
    descriptors, labels = batch(loss, 0.15)
    logits = loss.logits(descriptors, labels)
    assert float(loss.last["scale"]) > 32
    assert float(loss.last["margin"]) == 0
    torch.testing.assert_close(logits, loss.last["scale"] * loss.cosines(descriptors))


def test_logits_without_labels_have_the_minimum_scale() -> None:
    loss = create(minimum_scale=20.0)
    descriptors, labels = batch(loss, 0.1)
    loss(descriptors, labels)
    torch.testing.assert_close(loss.logits(descriptors), 20 * loss.cosines(descriptors))


def test_the_scale_has_its_floor_and_leaves_it_at_a_median_of_three_eighths() -> None:
    medians = torch.tensor([-1.0, 0.0, 0.374, 0.376, 0.6, 0.8], dtype=torch.float64)
    scales = adaptive_scale(medians, 0.02, 32.0).tolist()
    assert scales[:3] == [32.0] * 3
    assert 32 < scales[3] < 32.2
    assert scales[4:] == pytest.approx([50.0246, 100.0492], rel=1e-4)


@pytest.mark.parametrize("kind", ["median-sample", "median", "mean"])
def test_backgrounds_are_those_of_plain_sums(kind: str) -> None:
    loss = create()
    descriptors, labels = batch(loss, 0.3, count=10)
    cosines = loss.cosines(descriptors).detach()
    scale = torch.tensor(20.0, dtype=torch.float64)
    sums = [
        sum(math.exp(20 * float(c)) for j, c in enumerate(row) if j != int(y))
        for row, y in zip(cosines, labels, strict=True)
    ]
    row = cosines.gather(1, labels[:, None])[:, 0].median(dim=0).indices
    plain = {"median-sample": sums[row], "median": sorted(sums)[4], "mean": sum(sums) / 10}[kind]
    log_sums = log_backgrounds(cosines, labels, scale)
    assert float(pooled_background(log_sums, row, kind).exp()) == pytest.approx(plain)


def test_the_margin_where_the_published_sum_overflows() -> None:
    """exp(s cos) passes float32's largest number above s cos = 88, where the published margin falls to 0."""
    scale, median = torch.tensor(200.0), torch.tensor(0.9)
    cosines = torch.tensor([[0.9, 0.8, 0.7]])
    log_background = log_backgrounds(cosines, torch.tensor([0]), scale)[0]
    assert float(log_background) == pytest.approx(160.0)
    expected_margin = 0.9 - (160 + math.log(0.02 / 0.98)) / 200
    assert float(adaptive_margin(median, log_background, scale, 0.02)) == pytest.approx(expected_margin, rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_that_lies_on_its_classes(training: bool) -> None:
    loss = create().train(training)
    labels = torch.arange(CLASSES)
    descriptors = loss.weight.detach().clone().requires_grad_()
    value = loss(descriptors, labels)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(descriptors.grad).all()
    assert torch.isfinite(loss.last["scale"])
    assert float(loss.last["scale"]) > 1e6


def test_one_class_has_nothing_to_tell_apart() -> None:
    loss = LOSSES.create("madacos", {}, dim=DIM, num_classes=1)
    value = loss(torch.randn(4, DIM, generator=torch.Generator().manual_seed(0)), torch.zeros(4, dtype=torch.long))
    assert value.item() == 0


def test_weights_start_uniform_within_one_over_the_root_of_dim() -> None:
    weight = LOSSES.create("madacos", {}, dim=64, num_classes=500).weight.detach()
    assert float(weight.abs().max()) <= 1 / 8
    assert float(weight.std()) == pytest.approx(1 / 8 / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": 0.0}, "alpha must lie between 0 and 1, got 0"),
        ({"alpha": 1.0}, "alpha must lie between 0 and 1, got 1"),
        ({"minimum_scale": 0.0}, "minimum_scale must be positive"),
        ({"background": "meen"}, "did you mean 'mean'"),
    ],
    ids=str,
)
def test_options_that_mean_nothing(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        create(**options)


def test_a_wrong_background_without_the_registry() -> None:
    with pytest.raises(InputError, match=r"loss\.background 'meen'; did you mean 'mean'"):
        MadaCos(4, 3, background="meen")  # type: ignore[arg-type]
