"""feymanpriv/DELG checkpoints under our names.

Files hold ``model_state`` with pycls names behind ``globalmodel.``, the local head behind ``localmodel.``, and the two
classifiers ``desc_cls`` and ``att_cls``. Weights expect BGR input; the protocol of the variant says so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from retrieval_bench.methods.checkpoints import CheckpointFormat, State, Translation
from retrieval_bench.methods.naming import pycls_to_timm, resnet_of, split_backbone

_HEADS = {
    "globalmodel.head.pool.p": "pooling.p",
    "globalmodel.head.fc.weight": "projection.weight",
    "globalmodel.head.fc.bias": "projection.bias",
    "desc_cls.weight": "loss.weight",
    "desc_cls.t": "loss.t",
    "att_cls.fc.weight": "local.classifier.weight",
    "att_cls.fc.bias": "local.classifier.bias",
} | {
    f"localmodel.{published}.{kind}": f"local.{ours}.{kind}"
    for published, ours in (("conv1", "hidden"), ("bn", "norm"), ("conv2", "score"))
    for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}


def recognises(keys: Sequence[str]) -> bool:
    """Whether these are the keys of a DELG of feymanpriv/DELG."""
    return "globalmodel.stem.conv.weight" in keys and "globalmodel.head.fc.weight" in keys


def translate(state: State, extra: Mapping[str, Any]) -> Translation:
    """Tensors and what they fix: depth, descriptor dimensions, classes."""
    backbone, heads, unknown = split_backbone(state, pycls_to_timm, _HEADS, "globalmodel.")
    classes = heads.get("loss.weight", heads.get("local.classifier.weight"))
    # Files are passed on without their classifiers, or with the global branch alone; what they lack starts anew.
    optional = tuple(part for part in ("loss.", "local.classifier.", "local.") if not any(map(_begins(part), heads)))
    settings: dict[str, Any] = {
        "variant": "pytorch",
        "backbone": {"name": resnet_of(backbone)},
        "dim": heads["projection.weight"].shape[0],
    }
    if "local.hidden.weight" in heads:
        settings["local_dim"] = heads["local.hidden.weight"].shape[0]
    if classes is not None:
        settings["num_classes"] = classes.shape[0]
    return Translation(
        state={f"backbone.body.{key}": value for key, value in backbone.items()} | heads | unknown,
        settings=settings,
        optional=optional,
    )


def _begins(prefix: str) -> Callable[[str], bool]:
    return lambda key: key.startswith(prefix)


FORMATS = (CheckpointFormat("feymanpriv/DELG", recognises, translate),)
