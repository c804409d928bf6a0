"""SENet: a global descriptor of a map that knows its own self-similarity (Lee et al., CVPR 2023)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.parts import build_backbone, build_loss, build_pooling, resolve
from retrieval_bench.methods.protocols import pycls_protocol
from retrieval_bench.methods.registry import register_method
from retrieval_bench.methods.senet.card import CARD
from retrieval_bench.methods.senet.checkpoint import FORMATS
from retrieval_bench.methods.senet.recipes import RECIPES
from retrieval_bench.pooling.senet.structure import StructuralModule
from retrieval_bench.values.features import Features


@register_method("senet")
class SENet(RetrievalModule):
    """SENet as released (sungonce/SENet): one stage, no re-ranking.

    Not the squeeze-and-excitation network of the same name.

    Args:
        backbone: part; the last stage is read.
        pooling: part, over the signed map of the structural module.
        loss: part; the authors' training is not public, this is CVNet-Global's classification loss.
        dim: D of the descriptor.
        num_classes: C of the training set; None leaves the classifier out.
        mid_dim, unfold_size, kernel_size: of the structural module, see `StructuralModule`.
    """

    card = CARD
    formats = FORMATS
    recipes = RECIPES
    fixed_by_weights = ("backbone", "dim", "mid_dim", "unfold_size", "kernel_size")

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
        mid_dim: int = 256,
        unfold_size: int = 7,
        kernel_size: int = 3,
    ):
        parts = {
            "backbone": resolve(backbone, {"name": "resnet50"}),
            "pooling": resolve(pooling, {"name": "gem", "p": 3.0, "learnable": False}),
            "loss": resolve(loss, {"name": "curricularface", "margin": 0.15, "scale": 30.0}),
        }
        size = dim or 2048
        super().__init__(
            method="senet",
            settings={
                **parts,
                "dim": size,
                "num_classes": num_classes,
                "mid_dim": mid_dim,
                "unfold_size": unfold_size,
                "kernel_size": kernel_size,
            },
            protocol=pycls_protocol((0.7071, 1.0, 1.4142), scale_resize="cv2-area"),
        )
        self.backbone = build_backbone(parts["backbone"], 1, parts["pooling"])
        channels = self.backbone.channels[-1]
        self.structure = StructuralModule(channels, mid_dim, unfold_size, kernel_size)
        self.pooling = build_pooling(parts["pooling"], channels, self.backbone)
        self.projection = nn.Linear(self.pooling.out_channels, size)
        nn.init.normal_(self.projection.weight, std=0.01)
        nn.init.zeros_(self.projection.bias)
        self.loss = build_loss(parts["loss"], size, num_classes)

    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)``, not normalised."""
        return self.projection(self.pooled(self.structure(features.maps[-1]), features))
