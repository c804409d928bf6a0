"""What every loss owes."""

from copy import deepcopy
from functools import partial
from typing import cast, get_args
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
from retrieval_bench.contracts.loss_batches import (
    any_batch,
    batch_order,
    copies_are_no_pair,
    numbers_of_classes,
    two_batches,
)
from retrieval_bench.contracts.loss_precision import autocast, half_precision
from retrieval_bench.contracts.options import require_docstring, require_options
from retrieval_bench.contracts.placement import as_on_a_device
from retrieval_bench.contracts.process_state import process_state_kept
from retrieval_bench.contracts.registration import require_registered
from retrieval_bench.contracts.slopes import require_exact_gradient
from retrieval_bench.contracts.tiny_loss import build
from retrieval_bench.contracts.toy_batch import CLASSES, DIM, batch
from retrieval_bench.losses import LOSSES, ClassificationLoss, MetricLoss
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.recipe import Recipe


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
    """Descriptors and all weights of the loss get a gradient that is not zero; with classes, every descriptor."""
    loss = build(part)
    descriptors, labels = batch()
    descriptors.requires_grad_()
    loss(descriptors, labels).backward()
    leaves = {"the descriptors": descriptors, **dict(loss.named_parameters())}
    for name, leaf in leaves.items():
        require(leaf.grad is not None and bool(leaf.grad.abs().sum() > 0), f"no gradient reaches {name}")
    if isinstance(loss, ClassificationLoss):
        left = int((~cast(Tensor, descriptors.grad).any(dim=1)).sum())
        require(not left, f"no gradient reaches {left} of {len(labels)} descriptors, each of which has a class")


def exact_gradients(part: Part) -> None:
    """Gradients in float64 are the slopes that differences measure, unless it says `exact_gradient = False`."""
    if not getattr(LOSSES.get(part.name), "exact_gradient", True):
        raise SkipTest("exact_gradient = False: its gradient is not meant to be its slope")
    loss = build(part).double().eval()
    descriptors, labels = batch()
    value = deepcopy(loss)(descriptors.double(), labels)
    require(value.dtype == torch.float64, f"float64 descriptors gave a loss in {value.dtype}; keep float64 as it is")
    require_exact_gradient(
        lambda given: deepcopy(loss)(given, labels), [descriptors.double()], step=1e-6, tolerance=1e-4
    )


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


def input_untouched(part: Part) -> None:
    """Descriptors and labels are left as they were, and what belongs to the whole process, as random numbers do."""
    descriptors, labels = batch()
    before = descriptors.clone(), labels.clone()
    loss = build(part)
    with process_state_kept():
        loss(descriptors, labels)
    require_equal(descriptors, before[0], "descriptors after and before (work on a copy)")
    require_equal(labels, before[1], "labels after and before (work on a copy)")


def state_dict(part: Part) -> None:
    """All that it holds is registered, and a new one that loads the state_dict of a used one gives equal losses."""
    loss = build(part)
    require_registered(loss)
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


def devices(part: Part) -> None:
    """Tensors that it makes lie where its descriptors do, in training and in evaluation."""
    for training in (True, False):
        loss = build(part).train(training)
        descriptors, labels = batch()
        with as_on_a_device():
            loss(descriptors, labels)


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
        any_batch,
        batch_order,
        numbers_of_classes,
        two_batches,
        input_untouched,
        devices,
        state_dict,
        wrong_labels,
        copies_are_no_pair,
        logits,
    ),
)
