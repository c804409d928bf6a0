"""bassyess/CFCD checkpoints under our names.

Files of both stages hold ``model_state``, or the state dict alone: pycls names behind ``globalmodel.``, the projection
``fc``, its normalisation ``bn`` and the classifier ``desc_cls``. Weights expect BGR input. Their GeM has a fixed
exponent and no tensor, so that the pooling keeps the value that it was built with.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from retrieval_bench.methods.checkpoints import CheckpointFormat, State, Translation
from retrieval_bench.methods.naming import pycls_to_timm, resnet_of, split_backbone

_HEADS = {"desc_cls.weight": "loss.weight"} | {
    f"{published}.{kind}": f"{ours}.{kind}"
    for published, ours in (("fc", "projection"), ("bn", "norm"))
    for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}


def recognises(keys: Sequence[str]) -> bool:
    """Whether these are the keys of a CFCD of bassyess/CFCD."""
    return {"globalmodel.stem.conv.weight", "fc.weight", "bn.running_mean"} <= set(keys)


def translate(state: State, extra: Mapping[str, Any]) -> Translation:
    """Tensors and what they fix: depth, descriptor dimension, classes."""
    backbone, heads, unknown = split_backbone(state, pycls_to_timm, _HEADS, "globalmodel.")
    settings: dict[str, Any] = {
        "backbone": {"name": resnet_of(backbone)},
        "dim": heads["projection.weight"].shape[0],
    }
    optional: tuple[str, ...] = ()
    if "loss.weight" in heads:
        settings["num_classes"] = heads["loss.weight"].shape[0]
    else:
        # The model for deployment has no classifier; it starts anew.
        optional += ("loss.",)
    return Translation(
        state={f"backbone.body.{key}": value for key, value in backbone.items()} | heads | unknown,
        settings=settings,
        optional=optional,
        implied=("pooling.",),
    )


FORMATS = (CheckpointFormat("bassyess/CFCD", recognises, translate),)
