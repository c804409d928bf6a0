"""DOLG: a global vector and what local features add to it, in one descriptor (Yang et al., ICCV 2021)."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.dolg.card import CARD
from retrieval_bench.methods.dolg.checkpoint import FORMATS
from retrieval_bench.methods.dolg.recipes import RECIPES
from retrieval_bench.methods.parts import build_backbone, build_loss, build_pooling, resolve
from retrieval_bench.methods.protocols import pycls_protocol
from retrieval_bench.methods.registry import register_method
from retrieval_bench.pooling.dolg.fusion import FUSIONS
from retrieval_bench.pooling.dolg.local import LocalBranch
from retrieval_bench.values.features import Features


@register_method("dolg")
class Dolg(RetrievalModule):
    """DOLG as released (feymanpriv/DOLG): one stage, one loss, no re-ranking.

    Args:
        backbone: part; the last two stages are read.
        pooling: part, over the last stage.
        loss: part.
        dim: D of the descriptor.
        num_classes: C of the training set; None leaves the classifier out.
        multi_atrous: the block in front of the local branch that the paper describes and the released code leaves out.
        fusion: of local map and global vector; all but ``"orthogonal"`` are the paper's ablation.
    """

    card = CARD
    formats = FORMATS
    recipes = RECIPES
    fixed_by_weights = ("backbone", "dim", "multi_atrous", "fusion")

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
        multi_atrous: bool = False,
        fusion: Literal["orthogonal", "concatenation", "hadamard"] = "orthogonal",
    ):
        parts = {
            "backbone": resolve(backbone, {"name": "resnet50"}),
            "pooling": resolve(pooling, {"name": "gem", "p": 3.0}),
            "loss": resolve(loss, {"name": "curricularface", "margin": 0.15, "scale": 30.0}),
        }
        size = dim or 512
        super().__init__(
            method="dolg",
            settings={
                **parts,
                "dim": size,
                "num_classes": num_classes,
                "multi_atrous": multi_atrous,
                "fusion": fusion,
            },
            protocol=pycls_protocol((0.3535, 0.5, 0.7071, 1.0, 1.4142)),
        )
        self.backbone = build_backbone(parts["backbone"], 2, parts["pooling"])
        map_channels, out_channels = self.backbone.channels
        self.pooling = build_pooling(parts["pooling"], out_channels, self.backbone)
        self.reduction = nn.Linear(self.pooling.out_channels, map_channels)
        self.local = LocalBranch(map_channels, multi_atrous)
        self.fusion = FUSIONS[fusion]
        self.projection = nn.Linear(self.fusion.widths * map_channels, size)
        self.loss = build_loss(parts["loss"], size, num_classes)

    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)``, not normalised."""
        middle, last = features.maps
        whole = self.reduction(self.pooled(last, features))
        return self.projection(self.fusion.fuse(self.local(middle), whole))

    @torch.no_grad()
    def attention_maps(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` RGB images -> ``(B, 1, h, w)`` attention at scale 1."""
        return self.local.maps(self.backbone(self.normalise(self.checked(images)))[0]).scores
