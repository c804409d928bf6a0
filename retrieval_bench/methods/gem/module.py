"""GeM: a backbone, generalised-mean pooling and a projection; the baseline that everything else differs from.

Two forms are in use. ``cirtorch`` (Radenović, Tolias, Chum, TPAMI 2018) normalises before the projection and may have
none; ``spca`` is the ArcFace-trained form of GLDv2 comparisons (SpCa's ``GeM`` class): pooling, projection, L2.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.gem.card import CARD
from retrieval_bench.methods.gem.checkpoint import FORMATS
from retrieval_bench.methods.gem.recipes import RECIPES
from retrieval_bench.methods.parts import build_backbone, build_loss, build_pooling, resolve
from retrieval_bench.methods.registry import register_method
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.features import Features

NORM_EPS = 1e-6
"""Added to the norm in cirtorch's ``L2N``; not a lower bound on it."""

WITH_PROJECTION = (1.0, 2**0.5, 2**-0.5)
WITHOUT_PROJECTION = (1.0, 2**-0.5, 0.5)


@register_method("gem")
class Gem(RetrievalModule):
    """Generalised-mean descriptor.

    Args:
        backbone: part; the last stage is read.
        pooling: part.
        loss: part.
        dim: D after the projection; None keeps the pooling's channels (cirtorch) or is 2048 (spca).
        num_classes: C of the training set; None leaves the classifier out.
        variant: ``"spca"`` or ``"cirtorch"``; a cirtorch checkpoint chooses the latter.
        projection: ``"linear"`` (learned whitening, "-w" networks) or ``"none"``.
        local_whitening: a linear map at each position before pooling, cirtorch's ``lwhiten``.
        merge: over scales; None is the power mean with the pooling's p where cirtorch uses it (GeM without a
            projection) and the plain mean elsewhere.
    """

    card = CARD
    formats = FORMATS
    recipes = RECIPES
    fixed_by_weights = ("backbone", "dim", "variant", "projection", "local_whitening")

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
        variant: Literal["spca", "cirtorch"] = "spca",
        projection: Literal["linear", "none"] = "linear",
        local_whitening: Literal["linear", "none"] = "none",
        merge: Literal["mean", "power-mean"] | None = None,
    ):
        parts = {
            "backbone": resolve(backbone, {"name": "resnet50"}),
            "pooling": resolve(pooling, {"name": "gem", "p": 3.0, "learnable": variant == "cirtorch"}),
            "loss": resolve(loss, {"name": "arcface", "margin": 0.15, "scale": 32.0}),
        }
        power = parts["pooling"]["name"] == "gem" and projection == "none" and variant == "cirtorch"
        super().__init__(
            method="gem",
            settings={
                **parts,
                "dim": dim,
                "num_classes": num_classes,
                "variant": variant,
                "projection": projection,
                "local_whitening": local_whitening,
                "merge": merge,
            },
            protocol=Protocol(
                scales=WITH_PROJECTION if projection == "linear" else WITHOUT_PROJECTION,
                scale_resize="scale-factor",
                merge=merge or ("power-mean" if power else "mean"),
            ),
        )
        self.backbone = build_backbone(parts["backbone"], 1, parts["pooling"])
        channels = self.backbone.channels[-1]
        self.local_whitening = nn.Linear(channels, channels) if local_whitening == "linear" else None
        self.pooling = build_pooling(parts["pooling"], channels, self.backbone)
        pooled = self.pooling.out_channels
        size = dim or (pooled if variant == "cirtorch" else 2048)
        if projection == "none" and dim not in (None, pooled):
            raise InputError(f"gem without a projection has {pooled} dimensions, not dim={dim}; leave dim out")
        self.projection = nn.Linear(pooled, size) if projection == "linear" else None
        self.settings["dim"] = self.descriptor_dim
        self.loss = build_loss(parts["loss"], self.descriptor_dim, num_classes)
        self.normalise_pooled = variant == "cirtorch"

    @property
    def descriptor_dim(self) -> int:
        """D of the descriptor."""
        return self.pooling.out_channels if self.projection is None else self.projection.out_features

    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)``, not normalised."""
        feature_map = features.maps[-1]
        if self.local_whitening is not None:
            feature_map = self.local_whitening(feature_map.movedim(1, -1)).movedim(-1, 1)
        pooled = self.pooled(feature_map, features)
        if self.normalise_pooled:
            pooled = pooled / (pooled.norm(dim=1, keepdim=True) + NORM_EPS)
        return pooled if self.projection is None else self.projection(pooled)

    def merge_exponent(self) -> float:
        """The pooling's p, where it has one for all channels."""
        p = torch.as_tensor(getattr(self.pooling, "p", 1.0))
        return p.item() if p.numel() == 1 else 1.0
