"""What every loss owes."""

import inspect
from copy import deepcopy
from functools import partial
from typing import get_args
from unittest import SkipTest

import torch
from torch import Tensor, nn

from retrieval_bench.contracts.contract import Contract, Part
from retrieval_bench.contracts.expectations import (
    require,
    require_close,
    require_equal,
    require_finite,
    require_gradient,
    require_refusal,
    require_shape,
)
from retrieval_bench.contracts.options import require_docstring, require_options
from retrieval_bench.contracts.toy_batch import CLASSES, DIM, batch
from retrieval_bench.losses import LOSSES, ClassificationLoss, MetricLoss
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.recipe import Recipe

HALVES = (torch.float16, torch.bfloat16)


def build(part: Part, seed: int = 0) -> nn.Module:
    """A loss for descriptors of 16 dimensions and 6 classes."""
    torch.manual_seed(seed)
    loss: nn.Module = LOSSES.create(part.name, part.options, in_channels=DIM, dim=DIM, num_classes=CLASSES)
    return loss


def centres_of(loss: nn.Module) -> int:
    """Weight vectors of each class."""
    return int(getattr(loss, "sub_centres", 1))


def builds(part: Part) -> None:
    """It is a module with a docstring that makes a scalar of descriptors and labels, in float32."""
    loss = build(part)
    require(
        isinstance(loss, nn.Module), f"{part.name} is a {type(loss).__name__}; inherit ClassificationLoss or MetricLoss"
    )
    require_docstring(LOSSES.get(part.name), part.name)
    value = loss(*batch())
    require_shape(value, (), "the loss of 24 descriptors")
    require(value.dtype == torch.float32, f"the loss of float32 descriptors is {value.dtype}")
    require_finite(value, "the loss of 24 descriptors")


def options(part: Part) -> None:
    """Options are typed, defaults fit, and unknown ones are refused with the nearest name."""
    require_options(LOSSES, part.name, KINDS["loss"].given)


def sampler(part: Part) -> str:
    """The batches that it asks for by `sampler` exist."""
    asked = getattr(LOSSES.get(part.name), "sampler", "shuffle")
    known = get_args(Recipe.model_fields["sampler"].annotation)
    require(asked in known, f"sampler = {asked!r}; there are {', '.join(known)}")
    return f"batches: {asked}"


def training_lowers_it(part: Part) -> None:
    """30 steps of Adam on a linear layer bring it below 0.6 of what it was, above its least value."""
    loss = build(part)
    inputs, labels = batch()
    least = 0.0
    if isinstance(loss, MetricLoss):
        # Of descriptors that are one per class and orthogonal: ranking losses need not be 0 there.
        least = loss(torch.eye(CLASSES, DIM)[labels], labels).item()
    layer = nn.Linear(DIM, DIM)
    optimiser = torch.optim.Adam([*layer.parameters(), *loss.parameters()], lr=3e-2)
    values = []
    for _ in range(30):
        value = loss(layer(inputs), labels)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    require(
        values[-1] - least < 0.6 * (values[0] - least),
        f"30 steps of Adam on a linear layer took it from {values[0]:.4g} to {values[-1]:.4g}, not below 0.6 of it"
        + (f" above its least value {least:.4g}" if least else ""),
    )


def gradients_arrive(part: Part) -> None:
    """Descriptors and all weights of the loss get a gradient that is not zero."""
    loss = build(part)
    descriptors, labels = batch()
    descriptors.requires_grad_()
    loss(descriptors, labels).backward()
    leaves = {"the descriptors": descriptors, **dict(loss.named_parameters())}
    for name, leaf in leaves.items():
        require(leaf.grad is not None and bool(leaf.grad.abs().sum() > 0), f"no gradient reaches {name}")


def exact_gradients(part: Part) -> str | None:
    """Gradients in float64 are the slopes that differences measure, unless it says `exact_gradient = False`."""
    if not getattr(LOSSES.get(part.name), "exact_gradient", True):
        raise SkipTest("exact_gradient = False: its gradient is not meant to be its slope")
    loss = build(part).double().eval()
    descriptors, labels = batch()
    point = descriptors.double().requires_grad_()
    value = deepcopy(loss)(point, labels)
    require(value.dtype == torch.float64, f"float64 descriptors gave a loss in {value.dtype}; keep float64 as it is")
    value.backward()
    slope = require_gradient(point, "float64 descriptors")
    generator = torch.Generator().manual_seed(5)
    step = 1e-6
    with torch.no_grad():
        for _ in range(4):
            way = torch.randn(point.shape, generator=generator, dtype=torch.float64)
            ahead, behind = (deepcopy(loss)(point + sign * step * way, labels) for sign in (1, -1))
            require_close(
                (slope * way).sum(),
                (ahead - behind) / (2 * step),
                "the gradient along a random direction and the measured slope (say exact_gradient = False on the class "
                "where a weight is detached on purpose)",
                rtol=1e-4,
                atol=1e-6,
            )
    return None


def cosines_of_one(part: Part) -> None:
    """Descriptors that lie on their class weights, or opposite, give finite losses and gradients."""
    for sign in (1.0, -1.0):
        loss = build(part)
        labels = torch.arange(CLASSES).repeat(2)
        descriptors = (sign * torch.eye(CLASSES, DIM).repeat(2, 1)).requires_grad_()
        if isinstance(loss, ClassificationLoss):
            with torch.no_grad():
                loss.weight.copy_(torch.eye(CLASSES, DIM).repeat_interleave(centres_of(loss), dim=0))
        _require_finite_step(loss, descriptors, labels, f"for cosines of exactly {sign:g}")


def zero_descriptors(part: Part) -> None:
    """Descriptors of zeros give finite losses and gradients."""
    _require_finite_step(build(part), torch.zeros(8, DIM, requires_grad=True), torch.arange(8) % CLASSES, "for zeros")


def length_does_not_matter(part: Part) -> None:
    """Descriptors seven times as long give the same loss: it normalises them itself."""
    descriptors, labels = batch()
    require_close(
        build(part)(descriptors, labels), build(part)(7 * descriptors, labels), "losses of descriptors x 1 and x 7"
    )


def autocast(part: Part) -> None:
    """Under autocast to bfloat16 or float16 it computes in float32, with finite gradients."""
    descriptors, labels = batch()
    expected = build(part)(descriptors, labels)
    for dtype in HALVES:
        loss, leaf = build(part), descriptors.clone().requires_grad_()
        with torch.autocast("cpu", dtype=dtype):
            value = loss(leaf, labels)
        require(value.dtype == torch.float32, f"under autocast to {dtype} the loss is {value.dtype}, not float32")
        require_close(value, expected, f"losses under autocast to {dtype} and without")
        value.backward()
        require_gradient(leaf, f"the descriptors under autocast to {dtype}")


def half_precision(part: Part) -> None:
    """Descriptors in float16 and bfloat16, also long ones, give nearly the loss of float32, with finite gradients."""
    descriptors, labels = batch()
    expected = build(part)(descriptors, labels)
    for dtype in HALVES:
        for factor in (1, 1000):
            loss, leaf = build(part), (factor * descriptors).to(dtype).requires_grad_()
            value = loss(leaf, labels)
            of = f"{dtype} descriptors" + (" of length 1000" if factor > 1 else "")
            require(value.dtype == torch.float32, f"the loss of {of} is {value.dtype}, not float32")
            require_close(value, expected, f"losses of {of} and of float32", rtol=2e-2, atol=2e-2)
            value.backward()
            require_gradient(leaf, of)


def input_untouched(part: Part) -> None:
    """Descriptors and labels are left as they were."""
    descriptors, labels = batch()
    before = descriptors.clone(), labels.clone()
    build(part)(descriptors, labels)
    require_equal(descriptors, before[0], "descriptors after and before (work on a copy)")
    require_equal(labels, before[1], "labels after and before (work on a copy)")


def state_dict(part: Part) -> None:
    """A new one that loads the state_dict of a used one gives equal losses."""
    loss = build(part)
    descriptors, labels = batch()
    for factor in (1.0, 0.5, -0.5):
        loss(descriptors + factor * descriptors.roll(1, 0), labels)
    again = build(part, seed=1)
    again.load_state_dict(loss.state_dict(), strict=True)
    require_equal(
        again(descriptors, labels),
        loss(descriptors, labels),
        "losses after and before a state_dict round trip (state belongs in nn.Parameter or register_buffer)",
    )


def wrong_labels(part: Part) -> None:
    """Labels that are negative, too few, not whole, absent, or of no class are refused."""
    loss = build(part)
    descriptors, labels = batch()
    cases = {
        "labels from -1": (descriptors, labels - 1, "got -1"),
        "3 labels for 24 descriptors": (descriptors, labels[:3], "one per descriptor"),
        "float labels": (descriptors, labels.float(), "integers"),
        "an empty batch": (descriptors[:0], labels[:0], "empty"),
    }
    if isinstance(loss, ClassificationLoss):
        cases["label 6 of 6 classes"] = (descriptors, labels + 1, "0 .. 5, got 1 to 6")
    for what, (given, wrong, says) in cases.items():
        require_refusal(partial(loss, given, wrong), what, says=[says])


def copies_are_no_pair(part: Part) -> str | None:
    """A metric loss that is told which rows are of one image, as by batch attention, counts no pair of them."""
    loss = build(part)
    if not isinstance(loss, MetricLoss):
        raise SkipTest("it compares no images with each other")
    if "images" not in inspect.signature(loss.batch_loss).parameters:
        return "its batch_loss does not name images: in front of batch attention an image is its own positive"
    descriptors, _ = batch(4)
    one_class = torch.zeros(4, dtype=torch.long)
    require_close(
        loss(descriptors, one_class, images=one_class),
        loss(descriptors[:1], one_class[:1]),
        "the losses of four rows of one image and of one row, neither with a pair",
    )
    return None


def logits(part: Part) -> None:
    """Of a classification loss: scaled cosines without labels, and no larger with the margin of the own class."""
    loss = build(part)
    if not isinstance(loss, ClassificationLoss):
        raise SkipTest("it has no classes, so no logits")
    descriptors, labels = batch()
    plain = loss.logits(descriptors)
    require_shape(plain, (24, CLASSES), "logits of 24 descriptors")
    require(bool(plain.abs().max() <= loss.scale * (1 + 1e-6)), "logits without labels exceed the scale of cosines")
    rows = CLASSES * centres_of(loss)
    require_shape(loss.weight, (rows, DIM), "weight")
    bound = (6 / (rows + DIM)) ** 0.5
    require(bool(loss.weight.abs().max() <= bound), "weight is not Xavier-uniform when it is built")
    margin = loss.logits(descriptors, labels)
    own = nn.functional.one_hot(labels, CLASSES).bool()
    require(bool((margin[own] <= plain[own] + 1e-5).all()), "the margin raises logits of the own class")


def _require_finite_step(loss: nn.Module, descriptors: Tensor, labels: Tensor, of: str) -> None:
    value = loss(descriptors, labels)
    require_finite(value, f"the loss {of}")
    value.backward()
    require_gradient(descriptors, f"the descriptors {of}")
    for name, parameter in loss.named_parameters():
        require_gradient(parameter, f"{name} {of}")


CONTRACT = Contract(
    find=LOSSES.get,
    build=build,
    checks=(
        builds,
        options,
        sampler,
        training_lowers_it,
        gradients_arrive,
        exact_gradients,
        cosines_of_one,
        zero_descriptors,
        length_does_not_matter,
        autocast,
        half_precision,
        input_untouched,
        state_dict,
        wrong_labels,
        copies_are_no_pair,
        logits,
    ),
)
