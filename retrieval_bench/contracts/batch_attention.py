"""What every batch attention owes."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from retrieval_bench.batch_attention import BATCH_ATTENTIONS, BatchAttention
from retrieval_bench.contracts import batch_attention_training
from retrieval_bench.contracts.batch_attention_training import build
from retrieval_bench.contracts.contract import Contract, Part
from retrieval_bench.contracts.expectations import (
    require,
    require_equal,
    require_finite,
    require_gradient,
    require_shape,
)
from retrieval_bench.contracts.exporting import require_same_compiled
from retrieval_bench.contracts.options import require_docstring, require_options
from retrieval_bench.contracts.placement import as_on_a_device
from retrieval_bench.contracts.process_state import process_state_kept
from retrieval_bench.contracts.registration import require_registered
from retrieval_bench.contracts.toy_batch import DIM, batch
from retrieval_bench.settings.kinds import KINDS

BATCHES = (24, 2, 1)
SCALES = (0.0, 1e-12, 1.0, 1e4)


def weights_like(rows: Tensor) -> Tensor:
    """Seeded weights of a sum over rows; a plain sum of what is normalised has no gradient."""
    return torch.randn(rows.shape, generator=torch.Generator().manual_seed(4)).to(rows.dtype)


def builds(part: Part) -> None:
    """It is a BatchAttention with a docstring that makes rows and labels of descriptors and labels, in float32."""
    attention = build(part)
    require(
        isinstance(attention, BatchAttention),
        f"{part.name} is a {type(attention).__name__}, not a BatchAttention; inherit from it",
    )
    require_docstring(BATCH_ATTENTIONS.get(part.name), part.name)
    made: Any = attention(*batch())
    require(
        isinstance(made, tuple) and len(made) == 2 and all(isinstance(one, Tensor) for one in made),
        "its result is no pair of rows and their labels",
    )
    require(made[0].dtype == torch.float32, f"float32 descriptors became rows in {made[0].dtype}")


def options(part: Part) -> None:
    """Options are typed, defaults fit, and unknown ones are refused with the nearest name."""
    require_options(BATCH_ATTENTIONS, part.name, KINDS["batch_attention"].given)


def streams(part: Part) -> str:
    """Batches of 24, 2 and 1 images become whole streams in their order, with their labels, all finite."""
    for count in BATCHES:
        descriptors, labels = batch(count)
        rows, their_labels = build(part)(descriptors, labels)
        number, rest = divmod(len(rows), count)
        require(number > 0 and not rest, f"{count} images became {len(rows)} rows; make one or more of every image")
        require_shape(rows, (number * count, DIM), f"the rows of {count} images")
        require_finite(rows, f"the rows of {count} images")
        require_shape(their_labels, (number * count,), f"the labels of {count} images")
        require_equal(
            their_labels, labels.repeat(number), f"the labels of {count} images and theirs, once for each stream"
        )
    first = "the batch as it came" if torch.equal(rows[:count], descriptors) else "not the batch as it came"
    return f"streams: {number}, the first is {first}"


@torch.no_grad()
def batch_order(part: Part) -> str:
    """Shuffling a batch shuffles its rows and no more, or not, as `order_matters` says; measured where it is None."""
    attention = build(part).eval()
    descriptors, labels = batch()
    rows, _ = attention(descriptors, labels)
    require_equal(attention(descriptors, labels)[0], rows, "the second result in evaluation mode and the first")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    shuffled, _ = attention(descriptors[order], labels[order])
    expected = rows.view(-1, len(labels), DIM)[:, order].reshape_as(rows)
    matters = not torch.allclose(shuffled, expected, rtol=1e-4, atol=1e-5)
    changed = "changes what an image becomes" if matters else "shuffles its rows and changes nothing else"
    declared = type(attention).order_matters
    require(declared in (None, matters), f"order_matters = {declared}, but shuffling the batch {changed}")
    return f"shuffling the batch {changed}"


def images_meet(part: Part) -> None:
    """What becomes of an image depends on the others of the batch, and its loss has a gradient for them."""
    descriptors, labels = batch()
    descriptors.requires_grad_()
    rows, _ = build(part)(descriptors, labels)
    own = rows.view(-1, len(labels), DIM)[:, 0]
    (own * weights_like(own)).sum().backward()
    slope = require_gradient(descriptors, "the descriptors")
    require(bool(slope[1:].any()), "no other image of the batch has any part in what becomes of the first one")


def gradients_arrive(part: Part) -> None:
    """Every descriptor and all weights get a finite gradient that is not zero."""
    attention = build(part)
    descriptors, labels = batch()
    descriptors.requires_grad_()
    rows, _ = attention(descriptors, labels)
    (rows * weights_like(rows)).sum().backward()
    slope = require_gradient(descriptors, "the descriptors")
    require(bool(slope.any(dim=1).all()), "no gradient reaches some of the descriptors")
    for name, parameter in attention.named_parameters():
        require(bool(require_gradient(parameter, name).any()), f"the gradient of {name} is zero")


def finite_values(part: Part) -> None:
    """Zeros, tiny and huge descriptors, in batches of 24, 2 and 1, give finite rows and gradients."""
    for count in BATCHES:
        for scale in SCALES:
            attention = build(part)
            descriptors, labels = batch(count)
            descriptors = (scale * descriptors).requires_grad_()
            of = f"{count} descriptors with values of about {scale:g}"
            rows, _ = attention(descriptors, labels)
            require_finite(rows, f"the rows of {of}")
            # Scaled like the rows, so that the sum itself stays in range.
            (rows * weights_like(rows) / max(scale, 1.0)).sum().backward()
            require_gradient(descriptors, of)
            for name, parameter in attention.named_parameters():
                if parameter.grad is not None:
                    require_finite(parameter.grad, f"the gradient of {name} for {of}")


def input_untouched(part: Part) -> None:
    """Descriptors and labels are left as they were, and what belongs to the whole process, as random numbers do."""
    descriptors, labels = batch()
    before = descriptors.clone(), labels.clone()
    attention = build(part)
    with process_state_kept():
        attention(descriptors, labels)
    require_equal(descriptors, before[0], "descriptors after and before (work on a copy)")
    require_equal(labels, before[1], "labels after and before (work on a copy)")


def state_dict(part: Part) -> None:
    """All is registered, and a new one with the state_dict of a used one makes the same of a batch, with dropout."""
    attention = build(part)
    require_registered(attention)
    descriptors, labels = batch()
    for _ in range(3):
        attention(descriptors + descriptors.roll(1, 0), labels)
    again = build(part, seed=1)
    again.load_state_dict(attention.state_dict(), strict=True)
    copied = deepcopy(attention)
    rows, _ = attention(descriptors, labels)
    for which, other in (("a state_dict round trip", again), ("a deep copy", copied)):
        require_equal(
            other(descriptors, labels)[0],
            rows,
            f"rows after {which} and before (state belongs in nn.Parameter or register_buffer, also that from which "
            "dropout is drawn: see retrieval_bench.batch_attention.batchformer.seeded)",
        )


def devices(part: Part) -> None:
    """Tensors that it makes lie where its descriptors do, in training and in evaluation."""
    for training in (True, False):
        attention = build(part).train(training)
        descriptors, labels = batch()
        with as_on_a_device():
            attention(descriptors, labels)


class _Rows(nn.Module):
    """The rows alone, of a batch whose labels are fixed."""

    def __init__(self, attention: BatchAttention, labels: Tensor):
        super().__init__()
        self.attention = attention
        self.labels = labels

    def forward(self, descriptors: Tensor) -> Tensor:
        rows: Tensor = self.attention(descriptors, self.labels)[0]
        return rows


def compiled(part: Part) -> None:
    """`torch.compile` captures it, without generating code, and gives values and gradients of eager mode."""
    descriptors, labels = batch()
    require_same_compiled(_Rows(build(part).eval(), labels), (descriptors,), "eager")


def inductor(part: Part) -> None:
    """`torch.compile` with generated code gives values and gradients of eager mode."""
    descriptors, labels = batch()
    require_same_compiled(_Rows(build(part).eval(), labels), (descriptors,), "inductor")


CONTRACT = Contract(
    find=BATCH_ATTENTIONS.get,
    build=build,
    checks=(
        builds,
        options,
        streams,
        batch_order,
        images_meet,
        gradients_arrive,
        finite_values,
        input_untouched,
        devices,
        state_dict,
        *batch_attention_training.CHECKS,
        compiled,
    ),
    slow=(inductor,),
)
