"""Which of a model's parts are not its method's own."""

import torch

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.parts import named_batch_attention
from retrieval_bench.methods.registry import METHODS
from retrieval_bench.settings.errors import InputError

PARTS = ("backbone", "pooling", "loss")


def swapped_parts(model: RetrievalModule) -> dict[str, str]:
    """The parts that go by another name than in the method with the same other options, and any batch attention.

    Returns:
        kind -> name, where something was swapped: ``{"pooling": "boq", "batch attention": "batchformer"}``.
    """
    own = _own_parts(model)
    names = {kind: str(model.settings[kind]["name"]) for kind in PARTS if kind in model.settings}
    swapped = {kind: name for kind, name in names.items() if own.get(kind, name) != name}
    attention = named_batch_attention(model.settings.get("loss", {}).get("batch_attention"))["name"]
    return swapped if attention is None else {**swapped, "batch attention": attention}


def _own_parts(model: RetrievalModule) -> dict[str, str]:
    """Kind -> name in a model that is given no parts; nothing where the method is not built without them."""
    known = METHODS.options(model.method)
    # The dimension may fit the given parts alone.
    left_out = {*PARTS, "dim", "num_classes"}
    options = {key: value for key, value in model.settings.items() if key in known and key not in left_out}
    for place in ("meta", "cpu"):
        try:
            with torch.random.fork_rng(), torch.device(place):
                settings = METHODS.create(model.method, options).settings
        except InputError:
            return {}
        except (RuntimeError, NotImplementedError):  # a constructor that looks at values of its tensors
            continue
        return {kind: str(settings[kind]["name"]) for kind in PARTS if kind in settings}
    return {}
