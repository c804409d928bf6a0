"""filipradenovic/cnnimageretrieval-pytorch ("cirtorch") checkpoints under our names.

Files hold ``meta`` and ``state_dict``; features are ``Sequential(*resnet.children()[:-2])``. Post-hoc whitening
matrices (``meta["Lw"]``) are named as unused: they are applied to finished descriptors, not by the network.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from retrieval_bench.methods.checkpoints import CheckpointFormat, State, Translation
from retrieval_bench.methods.naming import resnet_of, sequential_to_timm, split_backbone
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol

_HEADS = {
    "pool.p": "pooling.p",
    "pool.rpool.p": "pooling.rpool.p",
    "pool.whiten.weight": "pooling.whiten.weight",
    "pool.whiten.bias": "pooling.whiten.bias",
    "whiten.weight": "projection.weight",
    "whiten.bias": "projection.bias",
    "lwhiten.weight": "local_whitening.weight",
    "lwhiten.bias": "local_whitening.bias",
}


def recognises(keys: Sequence[str]) -> bool:
    """Whether these are the keys of a cirtorch ResNet."""
    return "features.0.weight" in keys and any(key.startswith("features.7.") for key in keys)


def translate(state: State, extra: Mapping[str, Any]) -> Translation:
    """Tensors and what they fix: depth, pooling, projection, dimension."""
    meta = extra.get("meta", {})
    _check_normalisation(meta)
    backbone, heads, unknown = split_backbone(state, sequential_to_timm, _HEADS, "features.")
    projected = "projection.weight" in heads
    settings: dict[str, Any] = {
        "variant": "cirtorch",
        "backbone": {"name": resnet_of(backbone)},
        "pooling": _pooling(state, str(meta.get("pooling", "gem"))),
        "projection": "linear" if projected else "none",
        "local_whitening": "linear" if "local_whitening.weight" in heads else "none",
    }
    if projected:
        settings["dim"] = heads["projection.weight"].shape[0]
    unused = {f"meta.Lw[{name}]": "post-hoc whitening, applied to finished descriptors" for name in meta.get("Lw", {})}
    state = {f"backbone.body.{key}": value for key, value in backbone.items()} | heads | unknown
    return Translation(state, settings, unused)


def _pooling(state: State, base: str) -> dict[str, Any]:
    regional = "pool.rpool.p" in state or "pool.whiten.weight" in state
    if regional:
        return {"name": "regional", "whiten": "pool.whiten.weight" in state}
    if "pool.p" in state:
        return {"name": "gemmp" if state["pool.p"].numel() > 1 else "gem"}
    return {"name": base}


def _check_normalisation(meta: Mapping[str, Any]) -> None:
    expected = Protocol()
    for key, ours in (("mean", expected.mean), ("std", expected.std)):
        if key in meta and any(abs(float(a) - b) > 1e-4 for a, b in zip(meta[key], ours, strict=False)):
            raise InputError(
                f"the checkpoint was trained with {key} {list(meta[key])}, not {list(ours)} as all published"
            )


FORMATS = (CheckpointFormat("cirtorch", recognises, translate),)
