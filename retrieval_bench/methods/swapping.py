"""Which of a model's parts are not its method's own."""

from typing import Any

from retrieval_bench.backbones.storage import without_storage
from retrieval_bench.batch_attention import BATCH_ATTENTIONS
from retrieval_bench.losses import LOSSES
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.parts import named_batch_attention
from retrieval_bench.methods.registry import METHODS
from retrieval_bench.pooling import POOLINGS
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.options import same_value

PARTS = ("backbone", "pooling", "loss")
REGISTRIES = {"pooling": POOLINGS, "loss": LOSSES, "batch attention": BATCH_ATTENTIONS}


def swapped_parts(model: RetrievalModule) -> dict[str, str]:
    """The parts that go by another name than in the method with the same other options, and any batch attention.

    Returns:
        kind -> name, where something was swapped: ``{"pooling": "boq", "batch attention": "batchformer"}``.
    """
    own = _own_parts(model)
    names = {kind: str(model.settings[kind]["name"]) for kind in PARTS if kind in model.settings}
    swapped = {kind: name for kind, name in names.items() if own.get(kind, {"name": name})["name"] != name}
    attention = named_batch_attention(model.settings.get("loss", {}).get("batch_attention"))["name"]
    return swapped if attention is None else {**swapped, "batch attention": attention}


def changed_options(model: RetrievalModule) -> dict[str, dict[str, Any]]:
    """Options of pooling, loss and batch attention that are others than the method's own, or than a swapped part's.

    Returns:
        kind -> option -> value, where something was changed: ``{"pooling": {"p": 4.0}}``.
    """
    own = _own_parts(model)
    given = {kind: dict(model.settings[kind]) for kind in PARTS[1:] if kind in model.settings}
    attention = named_batch_attention(given.get("loss", {}).pop("batch_attention", None))
    if attention["name"] is not None:
        given["batch attention"] = attention
    changed = {}
    for kind, part in given.items():
        name = part.pop("name")
        parameters = REGISTRIES[kind].options(name).items()
        usual = {key: parameter.default for key, parameter in parameters}
        if own.get(kind, {}).get("name") == name:
            usual |= own[kind]
        changed[kind] = {key: value for key, value in part.items() if not same_value(value, usual.get(key))}
    return {kind: options for kind, options in changed.items() if options}


def _own_parts(model: RetrievalModule) -> dict[str, dict[str, Any]]:
    """Kind -> part in a model that is given no parts; nothing where the method is not built without them."""
    known = METHODS.options(model.method)
    # The dimension may fit the given parts alone.
    left_out = {*PARTS, "dim", "num_classes"}
    options = {key: value for key, value in model.settings.items() if key in known and key not in left_out}
    try:
        settings = without_storage(lambda: METHODS.create(model.method, options)).settings
    except (InputError, RuntimeError, NotImplementedError):
        return {}
    return {kind: dict(settings[kind]) for kind in PARTS if kind in settings}
