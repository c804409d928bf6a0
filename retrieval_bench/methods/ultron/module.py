"""ULTRON: convolution and local attention in one backbone, attention-based pooling, one descriptor.

Kweon and Park, ACCV 2024. Their code and weights are not published and the equations here come from secondary
descriptions: results are not comparable to the published numbers.
"""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.parts import build_backbone, build_loss, build_pooling, resolve
from retrieval_bench.methods.registry import register_method
from retrieval_bench.methods.ultron.card import CARD
from retrieval_bench.methods.ultron.recipes import RECIPES
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.features import Features

BACKBONES = {"s": "ultron_s", "b": "ultron_b"}


@register_method("ultron")
class Ultron(RetrievalModule):
    """ULTRON, re-implemented from partial information.

    What is open about its backbone and pooling are options of those parts. The protocol is open too: the framework's
    common one is used, with queries cut to their boxes, a longest side of 1024 and three scales.

    Args:
        backbone: part; the last stage is read.
        pooling: part.
        loss: part; MadaCos with a probability of 0.04, an unverified value.
        dim: D of the descriptor. Open; 512 is assumed.
        num_classes: C of the training set; None leaves the classifier out.
        variant: size of the default backbone, ``"s"`` or ``"b"``.
        projection_norm: what follows the linear projection. Open; batch normalisation is assumed, as in CFCD, from
            which the loss comes.
    """

    card = CARD
    recipes = RECIPES
    fixed_by_weights = ("backbone", "dim", "variant", "projection_norm")

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
        variant: Literal["s", "b"] = "s",
        projection_norm: Literal["batch", "none"] = "batch",
    ):
        parts = {
            "backbone": resolve(backbone, {"name": BACKBONES[variant]}),
            "pooling": resolve(pooling, {"name": "ultron"}),
            "loss": resolve(loss, {"name": "madacos", "alpha": 0.04}),
        }
        size = dim or 512
        super().__init__(
            method="ultron",
            settings={
                **parts,
                "dim": size,
                "num_classes": num_classes,
                "variant": variant,
                "projection_norm": projection_norm,
            },
            protocol=Protocol(scales=(2**-0.5, 1.0, 2**0.5)),
        )
        self.backbone = build_backbone(parts["backbone"], 1, parts["pooling"])
        self.pooling = build_pooling(parts["pooling"], self.backbone.channels[-1], self.backbone)
        self.projection = nn.Linear(self.pooling.out_channels, size)
        self.norm = nn.BatchNorm1d(size) if projection_norm == "batch" else nn.Identity()
        self.loss = build_loss(parts["loss"], size, num_classes)

    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)``, not normalised."""
        return self.norm(self.projection(self.pooled(features.maps[-1], features)))
