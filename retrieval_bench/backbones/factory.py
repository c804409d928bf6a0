"""Backbones by name: our own, then timm's."""

import fnmatch
from pathlib import Path
from typing import Any

import timm

from retrieval_bench.backbones.base import BACKBONES, Backbone
from retrieval_bench.backbones.relup import apply_relup
from retrieval_bench.backbones.timm_adapter import TimmBackbone
from retrieval_bench.backbones.weights import load_backbone_weights
from retrieval_bench.settings.errors import InputError


def list_backbones(filter: str = "*") -> list[str]:
    """The names that `create_backbone` knows and that match `filter`, a shell pattern; our own come first."""
    own = [name for name in BACKBONES.names() if fnmatch.fnmatch(name, filter)]
    return own + [name for name in timm.list_models(filter) if name not in own]


def create_backbone(
    name: str,
    *,
    out_stages: tuple[int, ...] = (-1,),
    pretrained: bool = False,
    weights: str | Path | None = None,
    relup: float | None = None,
    tokens: bool = False,
    **options: Any,
) -> Backbone:
    """Build a backbone.

    Args:
        name: as in `list_backbones`; timm's pretrained tags may follow, as in ``resnet50.tv_in1k``.
        out_stages: stages counted from the end, rising: ``(-1,)`` is the last, ``(-2, -1)`` the last two.
        pretrained: fetch timm's ImageNet weights from the hub.
        weights: a file of ImageNet weights in timm's or torchvision's keys.
        relup: floor of the rectifiers outside training, for networks that were trained without one; see `apply_relup`.
        tokens: whether `Backbone.features` gives class and register tokens.
        options: of that backbone.

    Raises:
        InputError: unknown name, stages or options, weights that do not fit, or a hub that cannot be reached.
    """
    stages = tuple(out_stages)
    if not stages or any(stage >= 0 for stage in stages) or list(stages) != sorted(set(stages)):
        raise InputError(f"out_stages must be rising and count from the end, such as (-2, -1), got {stages}")
    if pretrained and weights is not None:
        raise InputError("backbone.pretrained and backbone.weights exclude each other; leave one out")
    backbone = _built(name, stages, pretrained, weights, options)
    if tokens and backbone.token_channels is None:
        raise InputError(
            f"backbone {name!r} has no class or register tokens; choose one that has, such as vit_tiny_patch16_224"
        )
    if relup is not None:
        apply_relup(backbone, relup)
    return backbone


def _built(
    name: str, stages: tuple[int, ...], pretrained: bool, weights: str | Path | None, options: dict[str, Any]
) -> Backbone:
    if name in BACKBONES.names():
        given: dict[str, Any] = {"weights": weights} if weights is not None else {}
        given |= {"pretrained": True} if pretrained else {}
        backbone: Backbone = BACKBONES.create(name, {**options, **given}, out_stages=stages)
        return backbone
    adapter = TimmBackbone(name, stages, pretrained, **options)
    if weights is not None:
        load_backbone_weights(adapter.body, weights, later=timm.create_model(name, **options).state_dict())
    return adapter
