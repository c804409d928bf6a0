"""Building a method's parts from a name and options."""

from collections.abc import Mapping
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


def build_backbone(part: Part, stages: int, pooling: Part) -> Backbone:
    """The backbone of a part.

    Args:
        part: of the backbone.
        stages: how many of the last stages the method reads.
        pooling: the part that stands on it; what it needs of the backbone is given too.

    Raises:
        InputError: unknown parts or options, or a backbone without what is read.
    """
    options = {key: value for key, value in part.items() if key != "name"}
    needs = getattr(POOLINGS.get(pooling["name"]), "needs", ())
    count = max(stages, 2) if "earlier stage" in needs else stages
    return create_backbone(part["name"], out_stages=tuple(range(-count, 0)), tokens="tokens" in needs, **options)


def build_pooling(part: Part, in_channels: int, backbone: Backbone) -> Pooling:
    """The pooling head of a part for maps of `in_channels`, on a backbone that `build_backbone` built for it."""
    options = {key: value for key, value in part.items() if key != "name"}
    return POOLINGS.create(
        part["name"],
        options,
        in_channels=in_channels,
        earlier_channels=backbone.channels[-2] if len(backbone.channels) > 1 else None,
        token_channels=backbone.token_channels,
    )


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
