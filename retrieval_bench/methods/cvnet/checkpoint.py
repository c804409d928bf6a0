"""sungonce/CVNet checkpoints under our names.

Files hold ``model_state``, or the state dict alone: the global network with pycls names behind ``encoder_q.``, the
re-ranking network behind ``conv2ds.`` and ``cv_learner.``. Files of the global network alone exist too, also with
DELG-PyTorch's prefix ``globalmodel.``. Weights expect BGR input; the protocol says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrieval_bench.methods.checkpoints import CheckpointFormat, State, Translation, take
from retrieval_bench.methods.cvnet.matcher import matcher_key
from retrieval_bench.methods.naming import pycls_to_timm, renamed, resnet_of

PREFIXES = ("encoder_q.", "globalmodel.")
"""Of the global network."""

MOMENTUM = "momentum branch of the training; ours starts anew from the network"
_MOMENTUM_KEYS = ("encoder_k.", "queue")

_HEADS = {
    "head.pool.p": "pooling.p",
    "head.fc.weight": "projection.weight",
    "head.fc.bias": "projection.bias",
}
_CLASSIFIER = {"desc_cls.weight": "loss.weight", "desc_cls.t": "loss.t"}


@dataclass(frozen=True)
class GlobalNetwork:
    """CVNet-Global in a published file.

    Attributes:
        state: our key -> tensor.
        settings: backbone, dim and, where the file holds a classifier, num_classes.
        unused: published key -> why it is not needed.
        rest: what else the file holds, under its published names.
        optional: our keys that the file lacks and may lack.
    """

    state: State
    settings: dict[str, Any]
    unused: dict[str, str]
    rest: State
    optional: tuple[str, ...]


def recognises(keys: Sequence[str]) -> bool:
    """Whether these are the keys of a CVNet, with or without its re-ranking network, but not of a DELG."""
    whole = any({f"{prefix}stem.conv.weight", f"{prefix}head.fc.weight"} <= set(keys) for prefix in PREFIXES)
    return whole and not any(key.startswith("localmodel.") for key in keys)


def global_network(state: State) -> GlobalNetwork:
    """Split a published state dict into CVNet-Global, under our names, and the rest."""
    rest = dict(state)
    unused = {key: reason for prefix in _MOMENTUM_KEYS for key, reason in take(rest, prefix, MOMENTUM).items()}
    prefix = next(prefix for prefix in PREFIXES if f"{prefix}stem.conv.weight" in rest)
    inner = {key.removeprefix(prefix): rest.pop(key) for key in list(rest) if key.startswith(prefix)}
    backbone, unknown = {}, {}
    for key, value in inner.items():
        name = pycls_to_timm(key)
        if name is not None:
            backbone[name] = value
        elif key not in _HEADS:
            unknown[prefix + key] = value
    heads = renamed(inner, _HEADS) | renamed(rest, _CLASSIFIER)
    settings: dict[str, Any] = {
        "backbone": {"name": resnet_of(backbone)},
        "dim": heads["projection.weight"].shape[0],
    }
    if "loss.weight" in heads:
        settings["num_classes"] = heads["loss.weight"].shape[0]
    return GlobalNetwork(
        state={f"backbone.body.{key}": value for key, value in backbone.items()} | heads,
        settings=settings,
        unused=unused,
        rest={key: value for key, value in rest.items() if key not in _CLASSIFIER} | unknown,
        # No file holds our momentum branch; most were stripped of their classifier.
        optional=("contrast.", *(() if "loss.weight" in heads else ("loss.",))),
    )


def translate(state: State, extra: Mapping[str, Any]) -> Translation:
    """Tensors and what they fix: depth, dimensions, classes."""
    found = global_network(state)
    settings, matcher, unknown = dict(found.settings), {}, {}
    for key, value in found.rest.items():
        name = matcher_key(key)
        if name is None:
            unknown[key] = value
        else:
            matcher[f"matcher.{name}"] = value
    if "conv2ds.0.weight" in found.rest:
        settings["matcher_dim"] = found.rest["conv2ds.0.weight"].shape[0]
    return Translation(
        state=found.state | matcher | unknown,
        settings=settings,
        unused=found.unused,
        optional=found.optional + (() if matcher else ("matcher.",)),
    )


FORMATS = (CheckpointFormat("sungonce/CVNet", recognises, translate),)
