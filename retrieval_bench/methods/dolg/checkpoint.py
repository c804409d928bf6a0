"""feymanpriv/DOLG checkpoints under our names.

Files hold ``model_state``, or the state dict alone: pycls names behind ``globalmodel.``, the local branch behind
``localmodel.``, and the classifier ``desc_cls``. Weights expect BGR input. The exponent of the pooling was a constant
in some releases; their files lack ``pool_g.p``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from retrieval_bench.methods.checkpoints import CheckpointFormat, State, Translation
from retrieval_bench.methods.naming import pycls_to_timm, resnet_of, split_backbone

_LAYERS = {
    "fc_t": "reduction",
    "fc": "projection",
    "localmodel.conv1": "local.attention.hidden",
    "localmodel.bn": "local.attention.norm",
    "localmodel.conv2": "local.attention.score",
    "localmodel.aspp.im_pool.1": "local.context.image",
    "localmodel.aspp.conv_after.0": "local.context.merge",
} | {f"localmodel.aspp.aspp.{index}": f"local.context.branches.{index}" for index in range(4)}

_HEADS = {"pool_g.p": "pooling.p", "desc_cls.weight": "loss.weight", "desc_cls.t": "loss.t"} | {
    f"{published}.{kind}": f"{ours}.{kind}"
    for published, ours in _LAYERS.items()
    for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}

CONSTANT_P = 3.0
"""The exponent in the releases that did not learn it."""


def recognises(keys: Sequence[str]) -> bool:
    """Whether these are the keys of a DOLG of feymanpriv/DOLG."""
    return {"globalmodel.stem.conv.weight", "fc_t.weight", "fc.weight"} <= set(keys)


def translate(state: State, extra: Mapping[str, Any]) -> Translation:
    """Tensors and what they fix: depth, descriptor dimension, multi-atrous block, classes."""
    backbone, heads, unknown = split_backbone(state, pycls_to_timm, _HEADS, "globalmodel.")
    settings: dict[str, Any] = {
        "backbone": {"name": resnet_of(backbone)},
        "dim": heads["projection.weight"].shape[0],
        "multi_atrous": any(key.startswith("localmodel.aspp.") for key in state),
    }
    optional: tuple[str, ...] = ()
    if "pooling.p" not in heads:
        settings["pooling"] = {"name": "gem", "p": CONSTANT_P, "learnable": False}
    if "loss.weight" in heads:
        settings["num_classes"] = heads["loss.weight"].shape[0]
    else:
        # Files are passed on without their classifier; it starts anew.
        optional += ("loss.",)
    return Translation(
        state={f"backbone.body.{key}": value for key, value in backbone.items()} | heads | unknown,
        settings=settings,
        optional=optional,
        implied=("pooling.",),
    )


FORMATS = (CheckpointFormat("feymanpriv/DOLG", recognises, translate),)
