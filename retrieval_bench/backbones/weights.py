"""Weights of a backbone from a file: every tensor is used, or named with the reason why not."""

from collections.abc import Collection
from pathlib import Path

from torch import Tensor, nn

from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.reading import read_weights

CLASSIFIERS = ("fc.", "head.", "head_dist.", "classifier.")
CIRTORCH = {"0.": "conv1.", "1.": "bn1.", "4.": "layer1.", "5.": "layer2.", "6.": "layer3.", "7.": "layer4."}
"""ResNet positions in the bare ``nn.Sequential`` of cirtorch's Caffe-derived ImageNet files."""


def load_backbone_weights(body: nn.Module, path: str | Path, later: Collection[str] = ()) -> dict[str, str]:
    """Copy a timm or torchvision state dict into a timm feature extractor, in place.

    Args:
        body: timm's ``features_only`` module.
        path: ``.safetensors``, or a torch file, which is read without running code.
        later: keys of the whole timm model; those beyond the last requested stage may be in the file.

    Returns:
        tensor of the file -> why it is not used.

    Raises:
        InputError: no such file, an unreadable one, or tensors that are missing, unexpected or of another shape.
    """
    state = sequential_to_resnet(read_weights(path, "backbone.weights=").state)
    own = body.state_dict()
    names = {spelled(key): key for key in own}
    whole = {spelled(key) for key in later}
    unused, unexpected, misshaped, given = {}, [], {}, {}
    for key, value in state.items():
        name = names.get(spelled(key))
        if name is not None and own[name].shape == value.shape:
            given[name] = value
        elif name is not None:
            misshaped[name] = f"{key} {tuple(value.shape)} for {tuple(own[name].shape)}"
        elif key.startswith(CLASSIFIERS):
            unused[key] = "classifier of the pre-training"
        elif spelled(key) in whole:
            unused[key] = "beyond the last stage in use"
        else:
            unexpected.append(key)
    met = {*given, *misshaped}
    missing = [key for key in own if key not in met and not key.endswith("num_batches_tracked")]
    complaints = [
        f"{len(keys)} {what}: {', '.join(keys[:6])}{' ...' if len(keys) > 6 else ''}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("misshaped", list(misshaped.values())))
        if keys
    ]
    if complaints:
        raise InputError(f"{path} does not fit the backbone: {'; '.join(complaints)}; check backbone.weights")
    body.load_state_dict(given, strict=False)
    return unused


def spelled(key: str) -> str:
    """One spelling of a key: timm's extractors write ``stem_0`` for ``stem.0`` and may stand in a ``model.``."""
    return key.removeprefix("model.").replace(".", "_")


def sequential_to_resnet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys ``0.weight`` .. ``7.2.bn3.bias`` of cirtorch's ImageNet files as torchvision's; others as they are."""
    if not all(key.startswith(tuple(CIRTORCH)) for key in state):
        return state
    return {CIRTORCH[key[:2]] + key[2:]: value for key, value in state.items()}
