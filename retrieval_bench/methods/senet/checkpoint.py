"""sungonce/SENet checkpoints under our names.

Files hold ``model_state``, or the state dict alone: pycls names without a prefix, the structural module behind ``SSM.``
and ``head.fc``. There is neither a classifier nor an exponent of the pooling, which is the constant 3. Weights expect
BGR input.

The 1 x k x k Conv3d of the files run over a depth of positions that never mix, so that they are k x k convolutions of
as many small maps; only a depth of one is dropped from their weights.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from retrieval_bench.methods.checkpoints import CheckpointFormat, State, Translation
from retrieval_bench.methods.naming import pycls_to_timm, resnet_of

_LAYERS = {
    "SSM.ch_reduction_encoder": "structure.reduce",
    "SSM.SSE.conv1x1_out.0": "structure.expand",
    "SSM.SSE.conv1x1_out.1": "structure.expand_norm",
    "SSM.FFN.0": "structure.feed_forward.0",
    "SSM.FFN.2": "structure.feed_forward.2",
    "head.fc": "projection",
}
_ENCODER = re.compile(r"SSM\.SSE\.conv_in\.(\d+)\.([01])\.(\w+)")


def recognises(keys: Sequence[str]) -> bool:
    """Whether these are the keys of a SENet of sungonce/SENet."""
    return {"stem.conv.weight", "SSM.ch_reduction_encoder.weight", "SSM.SSE.conv_in.0.0.weight"} <= set(keys)


def translate(state: State, extra: Mapping[str, Any]) -> Translation:
    """Tensors and what they fix: depth, descriptor dimension, width, neighbourhood and kernel of the encoder."""
    translated: State = {}
    backbone: State = {}
    depth = 0
    for key, value in state.items():
        name = pycls_to_timm(key)
        layer, _, kind = key.rpartition(".")
        if name is not None:
            backbone[name] = value
        elif found := _ENCODER.fullmatch(key):
            index, part, kind = found.groups()
            depth = max(depth, int(index) + 1)
            flat = value.squeeze(2) if value.ndim == 5 and value.shape[2] == 1 else value
            translated[f"structure.encoder.{index}.{part}.{kind}"] = flat
        else:
            translated[f"{_LAYERS[layer]}.{kind}" if layer in _LAYERS else key] = value
    settings: dict[str, Any] = {
        "backbone": {"name": resnet_of(backbone)},
        "mid_dim": state["SSM.ch_reduction_encoder.weight"].shape[0],
        "unfold_size": 2 * depth + 1,
        "kernel_size": state["SSM.SSE.conv_in.0.0.weight"].shape[-1],
    }
    if "projection.weight" in translated:
        settings["dim"] = translated["projection.weight"].shape[0]
    return Translation(
        state={f"backbone.body.{key}": value for key, value in backbone.items()} | translated,
        settings=settings,
        optional=("loss.",),
        implied=("pooling.",),
    )


FORMATS = (CheckpointFormat("sungonce/SENet", recognises, translate),)
