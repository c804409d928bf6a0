"""What every batch attention owes in front of a loss, and in a method."""

import inspect
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from retrieval_bench.batch_attention import BATCH_ATTENTIONS, BatchAttention, attach
from retrieval_bench.contracts.contract import Check, Part
from retrieval_bench.contracts.expectations import (
    require,
    require_close,
    require_equal,
    require_finite,
    require_gradient,
    require_shape,
)
from retrieval_bench.contracts.method_training import save
from retrieval_bench.contracts.tiny_method import TINY, pictures
from retrieval_bench.contracts.toy_batch import CLASSES, DIM, batch
from retrieval_bench.data.samplers import ClassBalancedSampler, EpochSampler
from retrieval_bench.losses import LOSSES, list_losses
from retrieval_bench.methods.registry import create_model

INSTANCES = 4
HALVES = (torch.float16, torch.bfloat16)


def build(part: Part, seed: int = 0) -> BatchAttention:
    """One for descriptors of 16 dimensions, in training mode."""
    torch.manual_seed(seed)
    attention: BatchAttention = BATCH_ATTENTIONS.create(part.name, part.options, dim=DIM)
    return attention


def plain_loss(loss: str) -> nn.Module:
    """A loss for these descriptors, by name, in training mode."""
    torch.manual_seed(0)
    made: nn.Module = LOSSES.create(loss, {}, in_channels=DIM, dim=DIM, num_classes=CLASSES)
    return made


def joined(part: Part, loss: str) -> nn.Module:
    """The same loss, which sees what the part makes of a batch."""
    made = plain_loss(loss)
    attach(made, build(part))
    return made


def precision(part: Part) -> None:
    """Under autocast to bfloat16 or float16 a loss with it is that of float32, and float64 stays float64."""
    descriptors, labels = batch()
    for dtype in HALVES:
        found = []
        for on in (True, False):
            loss, leaf = joined(part, "arcface"), descriptors.to(dtype).requires_grad_()
            with torch.autocast("cpu", dtype=dtype, enabled=on):
                value = loss(leaf, labels)
            require(value.dtype == torch.float32, f"the loss of {dtype} descriptors is {value.dtype}, not float32")
            value.backward()
            found.append([value, require_gradient(leaf, f"{dtype} descriptors")])
        for one, other in zip(*found, strict=True):
            require_close(one, other, f"loss or gradient under autocast to {dtype} and without")
    rows, _ = build(part).double()(descriptors.double(), labels)
    require(rows.dtype == torch.float64, f"float64 descriptors became rows in {rows.dtype}; keep float64 as it is")


def training_only(part: Part) -> None:
    """In evaluation mode every loss is, bit for bit, what it is without it."""
    descriptors, labels = batch()
    for name in list_losses():
        with_it, without = joined(part, name).eval(), plain_loss(name).eval()
        require_equal(
            with_it(descriptors, labels), without(descriptors, labels), f"{name} in evaluation mode with it and without"
        )


def every_loss(part: Part) -> None:
    """Every loss trains on its streams, on batches of its own sampler, where no image is its own positive."""
    pool, pool_labels = (torch.cat([one, one]) for one in batch())
    pool = pool + 0.5 * torch.randn(pool.shape, generator=torch.Generator().manual_seed(6))
    for name in list_losses():
        chosen = _drawn(LOSSES.get(name), pool_labels.tolist())
        descriptors, labels = pool[chosen].requires_grad_(), pool_labels[chosen]
        loss, without = joined(part, name), plain_loss(name)
        torch.manual_seed(1)
        rows, their_labels = deepcopy(cast(nn.Module, loss.batch_attention))(descriptors, labels)
        images = {"images": torch.arange(len(labels)).repeat(len(rows) // len(labels))}
        told = images if "images" in inspect.signature(without.forward).parameters else {}
        torch.manual_seed(1)
        value = loss(descriptors, labels)
        require_shape(value, (), f"{name} with it")
        require_finite(value, f"{name} with it")
        require_close(value, without(rows, their_labels, **told), f"{name} with it and on its rows")
        value.backward()
        require_gradient(descriptors, f"the descriptors through {name}")
        for key, parameter in loss.named_parameters():
            if parameter.grad is not None:
                require_finite(parameter.grad, f"the gradient of {key} through {name}")


def _drawn(loss: Any, labels: list[int]) -> list[int]:
    """Rows of the first batch of the sampler that a loss asks for."""
    count, seed = getattr(loss, "instances", None) or INSTANCES, 0
    balanced = getattr(loss, "sampler", "shuffle") == "class-balanced"
    sampler = (
        ClassBalancedSampler(labels, classes=3, instances=count, seed=seed)
        if balanced
        else EpochSampler(len(labels), seed=seed)
    )
    return [row for _, row in sampler][: 3 * count]


def in_a_method(part: Part) -> None:
    """Method gem trains with it, describes as without it to the last bit, and its checkpoint brings it back."""
    images, labels = pictures(6, 48, 48), torch.tensor([0, 1, 2, 0, 1, 2])
    for loss in ("arcface", "smoothap"):
        chosen = {"name": loss, "batch_attention": {"name": part.name, **part.options}}
        torch.manual_seed(0)
        model = create_model("gem", **TINY, loss=chosen)
        without = create_model("gem", **TINY, loss=loss)
        kept = {key: value for key, value in model.state_dict().items() if ".batch_attention." not in key}
        without.load_state_dict(kept, strict=True)
        model.train().losses(images, labels)["loss"].backward()
        slopes = [value.grad for value in cast(nn.Module, model.backbone).parameters() if value.grad is not None]
        require(bool(slopes), f"no gradient of {loss} reaches the backbone of method gem; is something detached?")
        require(all(slope.isfinite().all() for slope in slopes), f"gradients of {loss} in the backbone are not finite")
        model.eval()
        # A step in training mode moved the statistics of the backbone's normalisation.
        without.load_state_dict({key: value for key, value in model.state_dict().items() if key in kept}, strict=True)
        require_equal(
            model.describe(images), without.describe(images), f"descriptors of method gem with it ({loss}) and without"
        )
        with tempfile.TemporaryDirectory() as folder:
            loaded = create_model("gem", weights=save(model, Path(folder) / "own.ckpt"))
        for key, value in model.state_dict().items():
            require_equal(loaded.state_dict()[key], value, f"{key} after and before a checkpoint")


CHECKS: tuple[Check, ...] = (precision, training_only, every_loss, in_a_method)
