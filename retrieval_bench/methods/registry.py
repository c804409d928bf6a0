"""Methods by name, and `create_model`: a preset over parts, with its published weights if they are given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.checkpoints import load_weights, read_checkpoint
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.registry import Registry

METHODS = Registry("method", "retrieval_bench.methods")

Part = str | Mapping[str, Any] | None
"""A part by name, or ``{"name": ..., option: value}``, or None for the method's own."""


def register_method(name: str) -> Any:
    """Enter a `RetrievalModule` class under `name`."""
    return METHODS.register(name)


def list_methods() -> list[str]:
    """The names that `create_model` knows."""
    return METHODS.names()


def create_model(
    method: str,
    *,
    backbone: Part = None,
    pooling: Part = None,
    loss: Part = None,
    dim: int | None = None,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    **options: Any,
) -> RetrievalModule:
    """Build a method, in eval mode.

    Args:
        method: as in `list_methods`.
        backbone, pooling, loss: a name, or a mapping with ``name`` and options of that part; None keeps the method's.
        dim: D of the descriptor.
        num_classes: C of the training set; a checkpoint that holds a classifier fixes it.
        weights: a checkpoint of ours, or one in the format in which the method's authors published it. Every tensor is
            used, or it is named as unused with the reason (``model.unused_weights``).
        options: of the method.

    Raises:
        InputError: an unknown name or option, parts that do not fit, or weights with missing, unexpected or misshaped
            tensors, which are listed.
    """
    part = METHODS.get(method)
    if not (isinstance(part, type) and issubclass(part, RetrievalModule)):
        raise InputError(f"method {method!r} is no RetrievalModule")
    for key, size in (("dim", dim), ("num_classes", num_classes)):
        if size is not None and (not isinstance(size, int) or size < 1):
            raise InputError(f"{key} must be a whole number from 1 up, got {size!r}")
    wanted: dict[str, Any] = dict(options)
    for key, value in (("backbone", backbone), ("pooling", pooling), ("loss", loss)):
        if value is not None:
            if not isinstance(value, str | Mapping):
                raise InputError(f"{key} must be a name or a mapping with name and options, got {value!r}")
            wanted[key] = {"name": value} if isinstance(value, str) else dict(value)
    for key, size in (("dim", dim), ("num_classes", num_classes)):
        if size is not None:
            wanted[key] = size
    if weights is None:
        return METHODS.create(method, wanted).eval()
    checkpoint = read_checkpoint(Path(weights), part.formats, method=method)
    for key, value in checkpoint.settings.items():
        if key in part.fixed_by_weights and key in wanted and not _agrees(wanted[key], value):
            raise InputError(
                f"{weights} was trained with {key}={_shown(value)}, but {key}={_shown(wanted[key])} was asked for; "
                f"leave {key} out or give other weights"
            )
        wanted[key] = _over(value, wanted[key]) if key in wanted else value
    model = METHODS.create(method, wanted)
    load_weights(model, checkpoint)
    return model.eval()


def _agrees(wanted: Any, fixed: Any) -> bool:
    """Whether what the user asked for is what the checkpoint holds; a named part may add options."""
    if isinstance(wanted, Mapping) and isinstance(fixed, Mapping):
        return all(key not in wanted or _agrees(wanted[key], value) for key, value in fixed.items())
    return bool(wanted == fixed)


def _over(stored: Any, given: Any) -> Any:
    """What was given, over the stored options of the same part."""
    if (
        isinstance(stored, Mapping)
        and isinstance(given, Mapping)
        and given.get("name", stored["name"]) == stored["name"]
    ):
        return {**stored, **given}
    return given


def _shown(value: Any) -> str:
    return str(value["name"]) if isinstance(value, Mapping) and "name" in value else str(value)
