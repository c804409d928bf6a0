"""Backbones by name: our own, then timm's."""

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import timm

from retrieval_bench.backbones.base import BACKBONES, Backbone, MissingFeaturesError
from retrieval_bench.backbones.hub import on_hub
from retrieval_bench.backbones.inspection import on_meta
from retrieval_bench.backbones.own_checkpoint import is_own, trained_with, trained_with_of
from retrieval_bench.backbones.relup import apply_relup
from retrieval_bench.backbones.timm_adapter import WITH_TOKENS, TimmBackbone, missing_stages
from retrieval_bench.backbones.weights import load_backbone_weights, timms_reader
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.faults import fault_of
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.weights.reading import read_weights

METHOD = "method"
"""The value of ``normalisation`` that keeps the method's own."""


def list_backbones(filter: str = "*") -> list[str]:
    """The names that `create_backbone` knows and that match `filter`, a shell pattern; our own come first."""
    own = [name for name in BACKBONES.names() if fnmatch.fnmatch(name, filter)]
    return own + [name for name in timm.list_models(filter) if name not in own]


def is_backbone(name: str) -> bool:
    """Whether `create_backbone` knows a name; of one on the hub that is taken on trust."""
    return name in BACKBONES.names() or on_hub(name) or timm.is_model(name.partition(".")[0])


def create_backbone(
    name: str,
    *,
    out_stages: tuple[int, ...] = (-1,),
    pretrained: bool | None = None,
    weights: str | Path | None = None,
    relup: float | None = None,
    final_norm: bool | None = None,
    tokens: bool = False,
    normalisation: Literal["method"] | Mapping[str, Any] | None = None,
    **options: Any,
) -> Backbone:
    """Build a backbone.

    Args:
        name: as in `list_backbones`; timm's pretrained tags may follow, as in ``resnet50.tv_in1k``. Or a timm model on
            the hub, as in ``hf_hub:timm/resnet50.a1_in1k``.
        out_stages: stages counted from the end, rising: ``(-1,)`` is the last, ``(-2, -1)`` the last two.
        pretrained: fetch weights from the hub; None: for ``hf_hub:`` names, unless `weights` are given.
        weights: a file of weights in timm's or torchvision's keys, or in a form that timm converts, such as the
            authors' files of DINOv2; position embeddings of another image size are resized.
        relup: floor of the rectifiers outside training, for networks that were trained without one; see `apply_relup`.
        final_norm: whether maps and tokens pass through the model's last norm; None: those of plain transformers, as
            users of DINOv2 and CLIP expect, and no others. See `TimmBackbone`.
        tokens: whether `Backbone.features` gives class and register tokens.
        normalisation: of the images: None for what the weights expect that it starts from, ``method`` for the method's
            own in any case, or a mapping with mean, std (red, green, blue, for [0, 1]) and channel_order (rgb, bgr).
        options: of that backbone.

    Raises:
        InputError: unknown name, stages or options, weights that do not fit, or a hub that cannot be reached.
    """
    stages = tuple(out_stages)
    if not stages or any(stage >= 0 for stage in stages) or list(stages) != sorted(set(stages)):
        raise InputError(f"out_stages must be rising and count from the end, such as (-2, -1), got {stages}")
    if pretrained and weights is not None:
        raise InputError("backbone.pretrained and backbone.weights exclude each other; leave one out")
    chosen = None if normalisation in (None, METHOD) else _by_hand(normalisation)
    if final_norm is not None:
        options["final_norm"] = final_norm
    backbone = _built(name, stages, pretrained, weights, options, tokens=tokens)
    if len(backbone.channels) < len(stages):
        raise MissingFeaturesError(missing_stages(name, len(backbone.channels), stages))
    if tokens and backbone.token_channels is None:
        raise MissingFeaturesError(
            f"backbone {name!r} has no class or register tokens; choose one that has, such as {WITH_TOKENS}"
        )
    if normalisation is not None:
        backbone.normalisation = chosen
    if relup is not None:
        apply_relup(backbone, relup)
    return backbone


def _built(
    name: str,
    stages: tuple[int, ...],
    pretrained: bool | None,
    weights: str | Path | None,
    options: dict[str, Any],
    *,
    tokens: bool,
) -> Backbone:
    if name in BACKBONES.names():
        given: dict[str, Any] = {"weights": weights} if weights is not None else {}
        given |= {"pretrained": True} if pretrained else {}
        backbone = BACKBONES.create(name, {**options, **given}, out_stages=stages, tokens=tokens)
        if not isinstance(backbone, Backbone):
            said = f"makes a {type(backbone).__name__}, which must inherit from retrieval_bench.backbones.Backbone"
            raise InputError(fault_of(BACKBONES.get(name), said))
        for told in ("channels", "strides"):
            if not isinstance(getattr(backbone, told, None), tuple | list):
                raise InputError(fault_of(type(backbone), f"sets no {told}; its constructor must, one for each stage"))
        if weights is not None and backbone.normalisation is None:
            backbone.normalisation = trained_with_of(weights)
        return backbone
    give: Literal["maps", "maps and tokens"] = "maps and tokens" if tokens else "maps"
    adapter = TimmBackbone(name, stages, False if weights is not None else pretrained, give=give, **options)
    if weights is not None:
        whole = on_meta(adapter.architecture.name, **adapter.architecture.creation)
        file = read_weights(weights, "backbone.weights=")
        load_backbone_weights(adapter.body, file, later=whole.state_dict(), reader=timms_reader(whole))
        adapter.normalisation = trained_with(file) if is_own(file) else adapter.expected(from_file=True)
    return adapter


def _by_hand(given: Any) -> Normalisation:
    if isinstance(given, str):
        raise InputError(
            f"{nearest(given, [METHOD], noun='value of backbone.normalisation')}; or set mean, std and channel_order "
            "below it, such as backbone.normalisation.channel_order=bgr"
        )
    return Normalisation.read(given, "backbone.normalisation", "backbone.normalisation, set by hand")
