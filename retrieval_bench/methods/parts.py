"""Building a method's parts from a name and options."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from retrieval_bench.backbones import Backbone, create_backbone
from retrieval_bench.backbones.base import MissingFeaturesError
from retrieval_bench.backbones.factory import is_backbone
from retrieval_bench.batch_attention import BATCH_ATTENTIONS, BatchAttention, attach
from retrieval_bench.losses import LOSSES
from retrieval_bench.pooling import POOLINGS, Pooling
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.faults import fault_of
from retrieval_bench.settings.registry import Registry

Part = Mapping[str, Any]


def resolve(part: Part | None, default: Part) -> dict[str, Any]:
    """The part to build: what the user gave, over the method's own options where the name is the same."""
    given = dict(part or {})
    if given.get("name", default["name"]) == default["name"]:
        return {**default, **given}
    return given


def build_backbone(part: Part, stages: int, pooling: Part) -> Backbone:
    """The backbone of a part.

    Args:
        part: of the backbone.
        stages: how many of the last stages the method reads.
        pooling: the part that stands on it; what it needs of the backbone is given too.

    Raises:
        InputError: unknown parts or options, or a backbone without what is read.
    """
    options = {key: value for key, value in part.items() if key != "name"}
    needs = needs_of(pooling)
    count = max(stages, 2) if "earlier stage" in needs else stages
    try:
        return create_backbone(part["name"], out_stages=tuple(range(-count, 0)), tokens="tokens" in needs, **options)
    except MissingFeaturesError as error:
        if count == stages and "tokens" not in needs:
            raise
        fitting = ", ".join(name for name in POOLINGS.names() if not needs_of({"name": name}))
        raise InputError(
            f"pooling {pooling['name']!r} does not fit: {error}; or a pooling that fits: {fitting}"
        ) from error


def needs_of(pooling: Part) -> tuple[str, ...]:
    """What the pooling of a part needs of the backbone beside the last map."""
    needs_with = getattr(POOLINGS.get(pooling["name"]), "needs_with", lambda _: ())
    return tuple(needs_with(pooling))


def build_pooling(part: Part, in_channels: int, backbone: Backbone) -> Pooling:
    """The pooling head of a part for maps of `in_channels`, on a backbone that `build_backbone` built for it.

    Raises:
        InputError: an unknown part or option, or a pooling that is not what `Pooling` asks for.
    """
    options = {key: value for key, value in part.items() if key != "name"}
    pooling: Pooling = _module(
        Pooling,
        POOLINGS,
        part["name"],
        options,
        in_channels=in_channels,
        earlier_channels=backbone.channels[-2] if len(backbone.channels) > 1 else None,
        token_channels=backbone.token_channels,
    )
    width = getattr(pooling, "out_channels", None)
    if not isinstance(width, int):
        said = "sets no out_channels" if width is None else f"sets out_channels to {width!r}"
        raise InputError(fault_of(type(pooling), f"{said}; its constructor must set self.out_channels, a whole number"))
    return pooling


def build_loss(part: Part, dim: int, num_classes: int | None) -> nn.Module | None:
    """The loss of a part for descriptors of `dim`; None where there are no classes to train on.

    Beside the options of the loss itself, its part may have ``batch_attention``: a part by name, or a mapping with
    ``name`` and options, or None.

    Raises:
        InputError: an unknown part or option; when it is called, a loss that gives anything but one number.
    """
    options = {key: value for key, value in part.items() if key not in ("name", "batch_attention")}
    given = {"in_channels": dim, "dim": dim, "num_classes": num_classes}
    settable = [key for key in LOSSES.options(part["name"]) if key not in given]
    for key in options:
        if key not in settable:
            raise InputError(nearest(key, [*settable, "batch_attention"], noun=f"option of loss {part['name']!r}"))
    attention = named_batch_attention(part.get("batch_attention"))
    name = attention.pop("name")
    if num_classes is None:
        LOSSES.check(part["name"], options, **given)
        if name is not None:
            BATCH_ATTENTIONS.check(name, attention, dim=dim)
        return None
    loss = _module(nn.Module, LOSSES, part["name"], options, **given)
    loss.register_forward_hook(_require_scalar)
    if name is not None:
        attach(loss, _module(BatchAttention, BATCH_ATTENTIONS, name, attention, dim=dim))
    return loss


def _require_scalar(loss: nn.Module, inputs: tuple[Any, ...], value: Any) -> None:
    if not isinstance(value, Tensor) or value.ndim:
        given = f"values of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise InputError(fault_of(type(loss), f"gave {given}, not one number, as a tensor of shape ()"))
    if inputs and inputs[0].requires_grad and not value.requires_grad and torch.is_grad_enabled():
        raise InputError(fault_of(type(loss), "gave a number that nothing can learn from; is something detached?"))


def _module(kind: type, registry: Registry, name: str, options: Part, **given: Any) -> Any:
    """A part that is a module of a kind, or an error that says what its class or constructor forgot."""
    try:
        part = registry.create(name, options, **given)
    except AttributeError as error:
        if "before Module.__init__() call" not in str(error):
            raise
        raise InputError(_uninitialised(registry, name)) from error
    if isinstance(part, nn.Module) and "_modules" not in vars(part):
        raise InputError(_uninitialised(registry, name))
    if not isinstance(part, kind):
        base = f"{kind.__module__.removesuffix('.base').removesuffix('.modules.module')}.{kind.__name__}"
        raise InputError(fault_of(registry.get(name), f"makes a {type(part).__name__}, which must inherit from {base}"))
    return part


def _uninitialised(registry: Registry, name: str) -> str:
    return fault_of(registry.get(name), "does not call super().__init__() first in its constructor")


def named_batch_attention(given: Any) -> dict[str, Any]:
    """What a loss has under ``batch_attention`` as a mapping with ``name``, which is None where there is none.

    Raises:
        InputError: options without a name, or what is neither a name nor a mapping.
    """
    if given is None or isinstance(given, str):
        return {"name": None if given == "none" else given}
    if not isinstance(given, Mapping):
        raise InputError(f"loss.batch_attention must be a name or a mapping with name and options, got {given!r}")
    if given.get("name") is None and (options := [key for key in given if key != "name"]):
        raise InputError(
            f"loss.batch_attention.{options[0]} is an option of no batch attention; name one as well, such as "
            f"loss.batch_attention={BATCH_ATTENTIONS.names()[0]}"
        )
    return {"name": None, **given}


def named_parts(settings: Part) -> dict[str, str]:
    """Kind -> name of the parts in a model's settings: pooling, loss, backbone, batch attention, as far as named."""
    parts = {kind: settings.get(kind) or {} for kind in ("pooling", "loss", "backbone")}
    names = {kind: part.get("name") for kind, part in parts.items()}
    names["batch attention"] = named_batch_attention(parts["loss"].get("batch_attention"))["name"]
    return {kind: name for kind, name in names.items() if name is not None}


def is_known(kind: str, name: str) -> bool:
    """Whether a part of a kind as in `named_parts` can be built here."""
    registries = {"pooling": POOLINGS, "loss": LOSSES, "batch attention": BATCH_ATTENTIONS}
    return is_backbone(name) if kind == "backbone" else name in registries[kind].names()


def batches_of_loss(part: Part) -> dict[str, Any]:
    """The recipe's keys that the loss of a part asks for: ``sampler``, and ``instances`` where it says how many."""
    loss = LOSSES.get(part["name"])
    asked = {key: getattr(loss, key, None) for key in ("sampler", "instances")}
    return {key: value for key, value in asked.items() if value is not None}
