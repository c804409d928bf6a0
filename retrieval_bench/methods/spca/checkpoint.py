"""Zy-Zhang/SpCa checkpoints under our names.

Files hold ``state_dict`` beside ``epoch`` and ``optim``. None is published: these are what the authors' script saves.
Their GeM has a fixed exponent and no tensor, so that the pooling keeps the value that it was built with.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from retrieval_bench.methods.checkpoints import CheckpointFormat, State, Translation
from retrieval_bench.methods.naming import renamed, resnet_of

_BACKBONE = {
    "backbone.block1.0.": "conv1.",
    "backbone.block1.1.": "bn1.",
    **{f"backbone.block{stage + 1}.": f"layer{stage}." for stage in range(1, 5)},
}

BRANCH = {
    "clusters": "clusters",
    "pi": "prior",
    "cov": "variance",
    "proj_kv.weight": "project.weight",
    "norm_templates.weight": "token_norm.weight",
    "norm_templates.bias": "token_norm.bias",
    "p_norm.weight": "norm.weight",
    "p_norm.bias": "norm.bias",
}
"""Of the spatial-context branch: published -> ours."""

_HEADS = {f"pos_branch.{theirs}": f"context.{ours}" for theirs, ours in BRANCH.items()} | {
    "whiten.weight": "projection.weight",
    "whiten.bias": "projection.bias",
    "classifier.weight": "loss.weight",
}

_ATTENTION = {"q.": "query.", "k.": "key.", "v.": "value.", "proj.": "output."}
_PERCEPTRON = {"fc1.": "hidden.", "fc2.": "output."}
_FUSERS: dict[str, dict[str, str | tuple[str, dict[str, str]]]] = {
    "dec": {
        "self_attn.": ("self_attention.", _ATTENTION),
        "cross_attn.": ("attention.", _ATTENTION),
        "mlp.": ("mlp.", _PERCEPTRON),
        "proj.0.": "lift.",
        "proj.1.": "context_norm.",
        "bn1.": "norm.",
        "bn2.": "self_norm.",
    },
    "cro": {
        "cross_attn.": ("attention.", _ATTENTION),
        "mlp.": ("mlp.", _PERCEPTRON),
        "ln.": "norm.",
        "proj.": "lift.",
    },
    "orth": {"fc_t.": "visual.", "fc.": "context."},
    "cat": {"mlp.": ("mlp.", _PERCEPTRON), "bn1.": "visual_norm.", "bn2.": "context_norm.", "proj.": "lift."},
    "had": {"bn1.": "visual_norm.", "bn2.": "context_norm.", "proj.": "reduce."},
}
"""Fuser -> published prefix -> ours, with the prefixes below it. The first prefix tells a fuser from those after it."""


def recognises(keys: Sequence[str]) -> bool:
    """Whether these are the keys of an SpCa network."""
    return "pos_branch.clusters" in keys and "whiten.weight" in keys


def translate(state: State, extra: Mapping[str, Any]) -> Translation:
    """Tensors and what they fix: depth, fuser, sizes of the branch, dimension, classes."""
    kind = fuser_of(state)
    backbone, fuser, unknown = {}, {}, {}
    for key, value in state.items():
        if (name := replaced(key, _BACKBONE)) is not None:
            backbone[name] = value
        elif key.startswith("fuser.") and (name := fuser_name(key.removeprefix("fuser."), kind)) is not None:
            fuser[f"fuser.{name}"] = value
        elif key not in _HEADS:
            unknown[key] = value
    heads = renamed(state, _HEADS)
    # The published projection is a 1x1 convolution wherever the fuser leaves a map.
    heads["projection.weight"] = heads["projection.weight"].flatten(1)
    _, tokens, local_dim = heads["context.clusters"].shape
    settings: dict[str, Any] = {
        "backbone": {"name": resnet_of(backbone)},
        "fuser": kind,
        "codebook_size": tokens,
        "local_dim": local_dim,
        "dim": heads["projection.weight"].shape[0],
    }
    if "context.norm.weight" in heads:
        settings["powers"] = max(1, len(heads["context.norm.weight"]) // tokens)
    if "loss.weight" in heads:
        settings["num_classes"] = heads["loss.weight"].shape[0]
    return Translation(
        state={f"backbone.body.{key}": value for key, value in backbone.items()} | fuser | heads | unknown,
        settings=settings,
        optional=() if "loss.weight" in heads else ("loss.",),
        implied=("pooling.",),
    )


def fuser_of(state: State) -> str:
    """Which fuser the keys belong to."""
    return next(
        (kind for kind, names in _FUSERS.items() if any(key.startswith(f"fuser.{next(iter(names))}") for key in state)),
        "cro",
    )


def fuser_name(key: str, kind: str) -> str | None:
    """Our name of a tensor of a fuser (``mlp.fc1.bias`` -> ``mlp.hidden.bias``), or None."""
    for published, ours in _FUSERS[kind].items():
        if key.startswith(published):
            rest = key.removeprefix(published)
            if isinstance(ours, str):
                return ours + rest
            below = replaced(rest, ours[1])
            return None if below is None else ours[0] + below
    return None


def replaced(key: str, prefixes: Mapping[str, str]) -> str | None:
    """`key` with the prefix that it begins with replaced, or None where it begins with none of them."""
    return next((ours + key.removeprefix(theirs) for theirs, ours in prefixes.items() if key.startswith(theirs)), None)


FORMATS = (CheckpointFormat("Zy-Zhang/SpCa", recognises, translate),)
