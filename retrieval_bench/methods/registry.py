"""Methods by name, and `create_model`: a preset over parts, with its published weights if they are given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.checkpoints import (
    Checkpoint,
    load_weights,
    new_classifier,
    read_checkpoint,
    replaced_parts,
)
from retrieval_bench.methods.parts import is_known, named_parts
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.settings.registry import Registry

METHODS = Registry("method", "retrieval_bench.methods")

Part = str | Mapping[str, Any] | None
"""A part by name, or ``{"name": ..., option: value}``, or None for the method's own."""


def register_method(name: str) -> Any:
    """Enter a `RetrievalModule` class under `name`.

    One that extends another method and has no card of its own gets one that says so: neither the other's published
    figures nor what is known of its code hold for it.
    """

    def enter(part: Any) -> Any:
        entered = METHODS.register(name)(part)
        if isinstance(part, type) and issubclass(part, RetrievalModule) and "card" not in vars(part):
            inherited = getattr(part, "card", None)
            if inherited is not None:
                part.card = inherited.extended(name)
        return entered

    return enter


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
        num_classes: C of the training set; None takes the checkpoint's. With another number than that the classifier
            starts anew.
        weights: a checkpoint of ours, or one in the format in which the method's authors published it. Every tensor is
            used, or it is named as unused with the reason (``model.unused_weights``). A pooling or loss may be another
            than the checkpoint's: of its tensors those are loaded that fit.
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
        model = _built(method, wanted)
        _normalise_as(model, _of_backbone(model))
        return model
    checkpoint = read_checkpoint(Path(weights), part.formats, method=method, also=part.loads_from)
    replaced = replaced_parts(checkpoint, wanted)
    renewed = new_classifier(checkpoint, num_classes, part.of_classes)
    for key, value in checkpoint.settings_for(METHODS.options(method)).items():
        if key in part.fixed_by_weights and key in wanted and (clash := _clash(wanted[key], value, key)):
            raise InputError(
                f"{weights} was trained with {clash[0]}={clash[2]}, but {clash[0]}={clash[1]} was asked for; leave "
                f"{clash[0]} out or give other weights"
            )
        wanted[key] = _over(value, wanted[key]) if key in wanted else value
    _require_known(checkpoint, wanted)
    model = _built(method, wanted)
    renewed |= _set_by_options(pooling, model)
    load_weights(model, checkpoint, replaced, renewed)
    _as_loaded(model)
    # What the backbone would have started from is gone, and its normalisation with it.
    by_hand = isinstance(backbone, Mapping) and backbone.get("normalisation") is not None
    _normalise_as(model, _of_backbone(model) if by_hand else checkpoint.normalisation)
    return model


def _require_known(checkpoint: Checkpoint, wanted: Mapping[str, Any]) -> None:
    """Refuse a checkpoint with a user's own part that was not brought along, unless another one takes its place."""
    asked = named_parts(wanted)
    for kind, name in named_parts(checkpoint.settings).items():
        if asked.get(kind) == name and not is_known(kind, name):
            raise InputError(
                f"{checkpoint.path} was trained with {kind} {name!r}, which is not known here: give --plugin with the "
                "file that defines it"
            )


def _of_backbone(model: RetrievalModule) -> Normalisation | None:
    """What the backbone asks for; None where it leaves that to the method."""
    return getattr(getattr(model, "backbone", None), "normalisation", None)


def _normalise_as(model: RetrievalModule, normalisation: Normalisation | None) -> None:
    """Let the model normalise images so; None keeps the method's own way."""
    if normalisation is None:
        return
    model.protocol = normalisation.within(model.protocol)
    model.normalisation_source = normalisation.source
    for name, buffer in (("mean", model.mean), ("std", model.std)):
        setattr(model, name, buffer.new_tensor(getattr(normalisation, name)).view_as(buffer))


def _set_by_options(pooling: Part, model: RetrievalModule) -> dict[str, str]:
    """Tensors that an option of the pooling was given for: key -> why the checkpoint's is not loaded."""
    given = {} if pooling is None or isinstance(pooling, str) else pooling
    own = model.state_dict()
    return {
        f"pooling.{name}": f"pooling.{name} was set to {value}"
        for name, value in given.items()
        if f"pooling.{name}" in own
    }


def _as_loaded(model: RetrievalModule) -> None:
    """Let the settings say the numbers that the checkpoint brought, such as a learnt exponent."""
    own = model.state_dict()
    loaded = {
        name: own[f"pooling.{name}"].item()
        for name in model.settings["pooling"]
        if f"pooling.{name}" in own and own[f"pooling.{name}"].numel() == 1
    }
    model.settings["pooling"] = {**model.settings["pooling"], **loaded}


def _built(method: str, options: Mapping[str, Any]) -> RetrievalModule:
    model: RetrievalModule = METHODS.create(method, options)
    # The constructor of a method that is extended knows its own name only.
    model.method = method
    model.normalisation_source = f"method {method}"
    # So with the options that it adds: checkpoints and stored descriptors are told apart by the settings.
    for key, value in options.items():
        model.settings.setdefault(key, value)
    merge = getattr(getattr(model, "pooling", None), "merge", None)
    if merge is not None:
        changes = {"merge": merge, "merge_exponent": getattr(model.pooling, "merge_exponent", None)}
        model.protocol = model.protocol.model_copy(update=changes)
    return model.eval()


def _clash(wanted: Any, fixed: Any, key: str) -> tuple[str, Any, Any] | None:
    """(setting, what was asked for, what the checkpoint holds) where they differ; a named part may add options."""
    if isinstance(wanted, Mapping) and isinstance(fixed, Mapping):
        found = (_clash(wanted[name], value, f"{key}.{name}") for name, value in fixed.items() if name in wanted)
        clash = next((one for one in found if one is not None), None)
        return clash if clash is None else (clash[0].removesuffix(".name"), *clash[1:])
    if isinstance(wanted, list | tuple) and isinstance(fixed, list | tuple):
        return None if list(wanted) == list(fixed) else (key, wanted, fixed)
    return None if wanted == fixed else (key, _shown(wanted), _shown(fixed))


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
