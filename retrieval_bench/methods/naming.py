"""Published names of ResNet tensors -> timm's, and what a state dict says about its backbone."""

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from retrieval_bench.settings.errors import InputError

RESNETS = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
"""(blocks per stage, bottleneck) -> name."""

_PYCLS_BLOCK = re.compile(r"s(\d)\.b(\d+)\.(.+)")
_PYCLS_PARTS = {
    "proj.": "downsample.0.",
    "bn.": "downsample.1.",
    "f.a.": "conv1.",
    "f.a_bn.": "bn1.",
    "f.b.": "conv2.",
    "f.b_bn.": "bn2.",
    "f.c.": "conv3.",
    "f.c_bn.": "bn3.",
}


def pycls_to_timm(key: str) -> str | None:
    """timm's name of a pycls ResNet tensor (``s3.b1.f.a.weight`` -> ``layer3.0.conv1.weight``), or None."""
    for published, ours in (("stem.conv.", "conv1."), ("stem.bn.", "bn1.")):
        if key.startswith(published):
            return ours + key.removeprefix(published)
    match = _PYCLS_BLOCK.fullmatch(key)
    if match is None:
        return None
    stage, block, rest = match.groups()
    for published, ours in _PYCLS_PARTS.items():
        if rest.startswith(published):
            return f"layer{stage}.{int(block) - 1}.{ours}{rest.removeprefix(published)}"
    return None


_SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def sequential_to_timm(key: str) -> str | None:
    """timm's name of a tensor of ``Sequential(*resnet.children())`` (``7.2.bn3.bias`` -> ``layer4.2.bn3.bias``)."""
    first, _, rest = key.partition(".")
    return f"{_SEQUENTIAL[first]}.{rest}" if first in _SEQUENTIAL else None


def resnet_of(keys: Iterable[str]) -> str:
    """Which ResNet these timm keys belong to.

    Raises:
        InputError: none of 18, 34, 50, 101, 152.
    """
    names = list(keys)
    blocks = [{int(name.split(".")[1]) for name in names if name.startswith(f"layer{stage}.")} for stage in range(1, 5)]
    shape = (tuple(len(stage) for stage in blocks), any(name.startswith("layer1.0.conv3.") for name in names))
    if shape not in RESNETS:
        raise InputError(f"the weights hold a ResNet of {shape[0]} blocks per stage, which is none of 18 to 152")
    return RESNETS[shape]


def split_backbone(
    state: Mapping[str, Tensor], to_timm: Callable[[str], str | None], known: Mapping[str, str], prefix: str = ""
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """The three kinds of tensors in a published state dict.

    Args:
        state: published names -> tensors.
        to_timm: published name behind `prefix` -> timm's, or None.
        known: published names of all other tensors -> ours.
        prefix: of the backbone's names.

    Returns:
        the backbone under timm's names, the others under ours, and what is neither under its published name.
    """
    backbone, heads, unknown = {}, {}, {}
    for key, value in state.items():
        name = to_timm(key.removeprefix(prefix)) if key.startswith(prefix) else None
        if name is not None:
            backbone[name] = value
        elif key in known:
            heads[known[key]] = value
        else:
            unknown[key] = value
    return backbone, heads, unknown


def renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors whose published name stands in `names`, under ours; absent ones are left out."""
    return {ours: state[published] for published, ours in names.items() if published in state}
