"""part_name: the last two stages of a backbone in one descriptor.

Source: own work; or authors, "title", venue and year, section or equation.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.methods import register_method
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.card import MethodCard
from retrieval_bench.methods.parts import build_backbone, build_loss, build_pooling, resolve
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.features import Features


@register_method("part_name")
class PartName(RetrievalModule):
    """The last stage pooled, the one before it averaged, both projected together (Authors, Venue Year).

    Args:
        backbone: part; its last two stages are read.
        pooling: part, over the last stage.
        loss: part.
        dim: D of the descriptor.
        num_classes: C of the training set; None leaves the classifier out.
        middle: what the stage before the last adds: its ``"mean"``, its ``"max"``, or nothing.

    Raises:
        InputError: an impossible option, or parts that do not fit.
    """

    card = MethodCard(
        title="PartName",
        paper="Authors: Title, Venue Year",
        code="own code",
        implementation="own work",
    )
    fixed_by_weights = ("backbone", "dim", "middle")

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
        middle: Literal["mean", "max", "none"] = "mean",
    ):
        if middle not in ("mean", "max", "none"):
            raise InputError(nearest(str(middle), ("mean", "max", "none"), noun="value of model.middle"))
        parts = {
            "backbone": resolve(backbone, {"name": "resnet50"}),
            "pooling": resolve(pooling, {"name": "gem", "p": 3.0}),
            "loss": resolve(loss, {"name": "arcface"}),
        }
        size = dim or 512
        super().__init__(
            method="part_name",
            settings={**parts, "dim": size, "num_classes": num_classes, "middle": middle},
            # That of gem, so that the two stand in one table without a remark; write what yours differs in.
            protocol=Protocol(scales=(1.0, 2**0.5, 2**-0.5), scale_resize="scale-factor"),
        )
        self.backbone = build_backbone(parts["backbone"], 2, parts["pooling"])
        earlier_channels, channels = self.backbone.channels
        self.pooling = build_pooling(parts["pooling"], channels, self.backbone)
        self.middle = middle
        added = 0 if middle == "none" else earlier_channels
        self.projection = nn.Linear(self.pooling.out_channels + added, size)
        self.loss = build_loss(parts["loss"], size, num_classes)

    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)``, not normalised."""
        earlier, last = features.maps
        # Each half at unit length, so that neither drowns the other.
        halves = [F.normalize(self.pooled(last, features), dim=1)]
        if self.middle != "none":
            flat = earlier.flatten(2)
            halves.append(F.normalize(flat.mean(dim=2) if self.middle == "mean" else flat.amax(dim=2), dim=1))
        return self.projection(torch.cat(halves, dim=1))
