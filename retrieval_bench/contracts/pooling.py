"""What every pooling head owes."""

from typing import cast

import torch
from torch import nn

from retrieval_bench.contracts.contract import Contract, Part
from retrieval_bench.contracts.expectations import (
    require,
    require_close,
    require_equal,
    require_finite,
    require_shape,
)
from retrieval_bench.contracts.exporting import require_same_compiled, require_same_exported, require_same_in_onnx
from retrieval_bench.contracts.options import require_docstring, require_options
from retrieval_bench.contracts.placement import as_on_a_device
from retrieval_bench.contracts.pooling_gradients import every_weight_learns, exact_gradients, finite_gradients
from retrieval_bench.contracts.pooling_precision import autocast, half_precision
from retrieval_bench.contracts.pooling_start import starts_from_images
from retrieval_bench.contracts.process_state import process_state_kept
from retrieval_bench.contracts.registration import require_registered
from retrieval_bench.contracts.tiny_pooling import SCALES, SIZES, Inputs, build, inputs, needs_of, sized
from retrieval_bench.methods.registry import create_model
from retrieval_bench.pooling import POOLINGS, Pooling
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.kinds import KINDS

NEEDS = ("earlier stage", "tokens")


def builds(part: Part) -> None:
    """It is a Pooling with a docstring, `in_channels` first, and says its `out_channels` and what it `needs`."""
    found = POOLINGS.get(part.name)
    pooling = build(part)
    require(isinstance(pooling, Pooling), f"{part.name} is a {type(pooling).__name__}, not a Pooling; inherit from it")
    require_docstring(found, part.name)
    first = next(iter(POOLINGS.options(part.name)), None)
    require(first == "in_channels", f"the first parameter of the constructor is {first}, not in_channels")
    channels = getattr(pooling, "out_channels", None)
    require(
        isinstance(channels, int) and channels > 0,
        f"self.out_channels is {channels!r}; the constructor sets it to the length of the vector",
    )
    odd = [need for need in pooling.needs if need not in NEEDS]
    require(not odd, f"needs names {odd}; there are {' and '.join(map(repr, NEEDS))}")


@torch.no_grad()
def any_size(part: Part) -> None:
    """Maps of 1 x 1, 1 x 7, 5 x 3 and 8 x 8 become finite vectors of `out_channels` values."""
    pooling = build(part)
    for size in SIZES:
        values = inputs(pooling, *size)
        out = pooling(*values)
        require_shape(out, (3, pooling.out_channels), f"the result for 3 maps of {size[0]} x {size[1]}")
        require_finite(out, f"the result for {sized(values)}")
        require(out.dtype == torch.float32, f"{sized(values)} in float32 gave a vector in {out.dtype}")


@torch.no_grad()
def finite_values(part: Part) -> None:
    """Zeros, tiny and huge values give finite vectors."""
    pooling = build(part)
    for size in SIZES:
        for scale in SCALES:
            values = tuple(value * scale for value in inputs(pooling, *size))
            require_finite(pooling(*values), f"the result for {sized(values)} with values of about {scale:g}")


@torch.no_grad()
def batch_independence(part: Part) -> None:
    """An image gives the same vector alone, beside others, and whatever those others are."""
    pooling = build(part)
    values = inputs(pooling, 5, 3, batch=4)
    alone = pooling(*(value[1:2] for value in values))
    require_close(pooling(*values)[1:2], alone, "one image in a batch of 4 and alone (no statistics over the batch)")
    others = tuple(torch.cat((10 * value[:1], value[1:2], 0 * value[2:])) for value in values)
    require_close(pooling(*others)[1:2], alone, "one image beside other images and alone")


@torch.no_grad()
def whole_input(part: Part) -> str | None:
    """All positions and channels of maps, and the class token, can change the result, unless `whole_map` is False."""
    pooling = build(part)
    if not pooling.whole_map:
        return "leaves positions of the map out, as whole_map = False says"
    values = inputs(pooling, 5, 3, batch=1)
    for number, value in enumerate(values):
        for kind, masks in _masks(value).items():
            change = torch.stack([_changes(pooling, values, number, sign * masks) for sign in (1, -1)]).amax(dim=0)
            idle = int((change <= 1e-6).sum())
            require(
                not idle,
                f"{idle} of {len(masks)} {kind} of input {number}, raised or lowered one by one, change nothing (say "
                "whole_map = False on the class where parts of a map are left out on purpose)",
            )
    return None


def _changes(pooling: Pooling, values: Inputs, number: int, masks: torch.Tensor) -> torch.Tensor:
    """How far the vector moves, relative to it, where an input is raised by each mask."""
    # The last row is as it was: beside the others, since rounding may depend on the size of a batch.
    masks = torch.cat([masks, torch.zeros_like(masks[:1])])
    batch = [one.expand(len(masks), *one.shape[1:]) for one in values]
    batch[number] = values[number] + masks * (5 + values[number])
    found = pooling(*batch)
    return (found[:-1] - found[-1]).abs().amax(dim=1) / found[-1].abs().amax()


def _masks(value: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of one map: each position, and each channel; of tokens: the class token. Ones there, zeros elsewhere."""
    if value.ndim == 3:
        return {"class token": torch.eye(value.shape[1])[:1, :, None]}
    channels, height, width = value.shape[1:]
    return {
        "positions": torch.eye(height * width).view(-1, 1, height, width),
        "channels": torch.eye(channels)[..., None, None],
    }


@torch.no_grad()
def same_twice(part: Part) -> None:
    """The same maps give the same vectors in evaluation mode, whatever came before, and are left as they were."""
    pooling = build(part)
    values = inputs(pooling, 5, 3)
    before = [value.clone() for value in values]
    first = pooling(*values)
    for number, (value, kept) in enumerate(zip(values, before, strict=True)):
        require_equal(value, kept, f"input {number} after and before it was pooled (work on a copy)")
    require_equal(pooling(*values), first, "the second result and the first (no dropout or state in evaluation)")
    with process_state_kept():
        pooling(*values)
    others = tuple(2 * value.flip(0) for value in values)
    require_equal(
        pooling(*others), build(part)(*others), "the result after other maps of that size and the first of a new one"
    )


@torch.no_grad()
def position_order(part: Part) -> str:
    """Shuffled positions change the vector or not, as `order_matters` says; measured where it says nothing."""
    pooling = build(part)
    values = inputs(pooling, 5, 3)
    generator = torch.Generator().manual_seed(1)
    shuffled = []
    for value in values:
        if value.ndim == 4:
            order = torch.randperm(value.shape[2] * value.shape[3], generator=generator)
            value = value.flatten(2)[..., order].view_as(value)
        shuffled.append(value)
    before, after = pooling(*values), pooling(*shuffled)
    matters = not torch.allclose(before, after, rtol=1e-4, atol=1e-5)
    declared = type(pooling).order_matters
    changed = "changes" if matters else "does not change"
    require(
        declared in (None, matters),
        f"order_matters = {declared}, but shuffling the positions of a map {changed} the result",
    )
    return f"shuffling positions {changed} the result"


@torch.no_grad()
def state_dict(part: Part) -> None:
    """All that it holds is registered, and a new one that loads the state_dict of a used one gives equal vectors."""
    pooling = build(part)
    require_registered(pooling)
    torch.manual_seed(1)
    for parameter in pooling.parameters():
        parameter.add_(0.1 * torch.rand_like(parameter))
    pooling.train()
    for _ in range(2):
        pooling(*inputs(pooling, 5, 3))
    pooling.eval()
    again = build(part, seed=2)
    again.load_state_dict(pooling.state_dict(), strict=True)
    values = inputs(pooling, 8, 8)
    require_equal(
        again(*values),
        pooling(*values),
        "after and before a state_dict round trip (state belongs in nn.Parameter or register_buffer)",
    )


@torch.no_grad()
def memory_layout(part: Part) -> None:
    """Maps in channels_last and maps cut out of larger ones give the same vectors."""
    pooling = build(part)
    values = inputs(pooling, 8, 8)
    expected = pooling(*values)
    last = tuple(value.to(memory_format=torch.channels_last) if value.ndim == 4 else value for value in values)
    require_close(pooling(*last), expected, "maps in channels_last and contiguous")
    cut = tuple(nn.functional.pad(value, (0, 2, 0, 1))[..., :-1, :-2] for value in values)
    require_close(pooling(*cut), expected, "maps that are not contiguous and contiguous ones (.reshape, not .view)")


@torch.no_grad()
def devices(part: Part) -> None:
    """Tensors that it makes lie where its input does, in training and in evaluation."""
    for training in (True, False):
        pooling = build(part).train(training)
        values = inputs(pooling, 5, 3)
        with as_on_a_device():
            pooling(*values)


def compiled(part: Part) -> None:
    """`torch.compile` captures it, without generating code, and gives values and gradients of eager mode."""
    pooling = build(part)
    require_same_compiled(pooling, inputs(pooling, 5, 7), "eager")


def exported(part: Part) -> None:
    """`torch.export` captures it and gives the values of eager mode."""
    pooling = build(part)
    require_same_exported(pooling, inputs(pooling, 5, 7))


def options(part: Part) -> None:
    """Options are typed, defaults fit, and unknown ones are refused with the nearest name."""
    require_options(POOLINGS, part.name, KINDS["pooling"].given)


def in_a_method(part: Part) -> None:
    """Method gem describes images and trains with it, on a backbone that has what it needs."""
    needs = needs_of(part)
    try:
        model = create_model(
            "gem",
            backbone="test_vit" if "tokens" in needs else "test_resnet",
            pooling={"name": part.name, **part.options},
            dim=16,
            num_classes=2,
        )
    except InputError as error:
        require(False, f"method gem refuses it: {error}")
    images = torch.rand(4, 3, 64, 48)
    described = model.describe(images[:2])
    require_shape(described, (2, 16), "the descriptor of 2 images by method gem")
    require_close(described.norm(dim=1), torch.ones(2), "descriptor norms and 1", atol=1e-5, rtol=0)
    model.train().losses(images, torch.tensor([0, 1, 0, 1]))["loss"].backward()
    slopes = [value.grad for value in cast(nn.Module, model.backbone).parameters() if value.grad is not None]
    require(bool(slopes), "no gradient of the loss reaches the backbone of method gem; is something detached?")
    require(all(slope.isfinite().all() for slope in slopes), "gradients of method gem's backbone are not finite")


def inductor(part: Part) -> None:
    """`torch.compile` with generated code gives values and gradients of eager mode."""
    pooling = build(part)
    require_same_compiled(pooling, inputs(pooling, 5, 7), "inductor")


def onnx(part: Part) -> None:
    """ONNX Runtime gives the values of eager mode."""
    pooling = build(part)
    require_same_in_onnx(pooling, inputs(pooling, 5, 7))


CONTRACT = Contract(
    find=POOLINGS.get,
    build=build,
    checks=(
        builds,
        options,
        any_size,
        finite_values,
        finite_gradients,
        exact_gradients,
        every_weight_learns,
        half_precision,
        autocast,
        whole_input,
        batch_independence,
        same_twice,
        position_order,
        memory_layout,
        devices,
        state_dict,
        starts_from_images,
        in_a_method,
        exported,
        compiled,
    ),
    slow=(inductor, onnx),
)
