"""Building a method's parts from a name and options."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from retrieval_bench.backbones import Backbone, create_backbone
from retrieval_bench.losses import LOSSES
from retrieval_bench.pooling import POOLINGS, Pooling

Part = Mapping[str, Any]


def resolve(part: Part | None, default: Part) -> dict[str, Any]:
    """The part to build: what the user gave, over the method's own options where the name is the same."""
    given = dict(part or {})
    if given.get("name", default["name"]) == default["name"]:
        return {**default, **given}
    return given


def build_backbone(part: Part, out_stages: Sequence[int]) -> Backbone:
    """The backbone of a part with the stages that the method reads."""
    options = {key: value for key, value in part.items() if key != "name"}
    return create_backbone(part["name"], out_stages=tuple(out_stages), **options)


def build_pooling(part: Part, in_channels: int) -> Pooling:
    """The pooling head of a part for maps of `in_channels`."""
    options = {key: value for key, value in part.items() if key != "name"}
    return POOLINGS.create(part["name"], options, in_channels=in_channels)


def build_loss(part: Part, dim: int, num_classes: int | None) -> nn.Module | None:
    """The loss of a part for descriptors of `dim`; None where there are no classes to train on.

    Raises:
        InputError: an unknown part or option.
    """
    options = {key: value for key, value in part.items() if key != "name"}
    if num_classes is None:
        LOSSES.check(part["name"], options, in_channels=dim, dim=dim, num_classes=num_classes)
        return None
    return LOSSES.create(part["name"], options, in_channels=dim, dim=dim, num_classes=num_classes)
