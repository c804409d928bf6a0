"""CFCD: one compact global vector, learnt from coarse to fine (Zhu et al., ICCV 2023).

The first stage trains the vector with MadaCos; the second adds a triplet loss on matched local descriptors, with tuples
of images that the first stage mistook. Inference knows the vector only.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from retrieval_bench.losses.base import ClassificationLoss
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.cfcd.card import CARD
from retrieval_bench.methods.cfcd.checkpoint import FORMATS
from retrieval_bench.methods.cfcd.matching import matched_triplet_loss
from retrieval_bench.methods.cfcd.recipes import RECIPES
from retrieval_bench.methods.parts import build_backbone, build_loss, build_pooling, resolve
from retrieval_bench.methods.protocols import pycls_protocol
from retrieval_bench.methods.registry import register_method
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.features import Features


@register_method("cfcd")
class Cfcd(RetrievalModule):
    """CFCD as released (bassyess/CFCD).

    Args:
        backbone: part; the last stage is read.
        pooling: part.
        loss: part, on the descriptor.
        dim: D of the descriptor.
        num_classes: C of the training set; None leaves the classifier out.
        matching_weight: of the matched triplet loss in the second stage. The published configurations say 0.05, but the
            released code never reads that value and trains with 1.0; which of the two made the paper's figures is not
            known.
        matching_ratio: distance of a match over that of the second nearest position, at most.
        matching_margin: of the matched triplet loss, in squared distances.
    """

    card = CARD
    formats = FORMATS
    recipes = RECIPES

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
        matching_weight: float = 0.05,
        matching_ratio: float = 0.9,
        matching_margin: float = 0.1,
    ):
        parts = {
            "backbone": resolve(backbone, {"name": "resnet50"}),
            "pooling": resolve(pooling, {"name": "gem", "p": 3.0, "learnable": False}),
            "loss": resolve(loss, {"name": "madacos", "alpha": 0.02}),
        }
        for key, value in (("matching_weight", matching_weight), ("matching_ratio", matching_ratio)):
            if value < 0:
                raise InputError(f"cfcd: {key} must not be negative, got {value}")
        size = dim or 512
        super().__init__(
            method="cfcd",
            settings={
                **parts,
                "dim": size,
                "num_classes": num_classes,
                "matching_weight": matching_weight,
                "matching_ratio": matching_ratio,
                "matching_margin": matching_margin,
            },
            protocol=pycls_protocol((0.3535, 0.5, 0.7071, 1.0, 1.4142)),
        )
        self.backbone = build_backbone(parts["backbone"], 1, parts["pooling"])
        self.pooling = build_pooling(parts["pooling"], self.backbone.channels[-1], self.backbone)
        self.projection = nn.Linear(self.pooling.out_channels, size)
        self.norm = nn.BatchNorm1d(size)
        self.loss = build_loss(parts["loss"], size, num_classes)
        self.matching_weight = matching_weight
        self.matching_ratio = matching_ratio
        self.matching_margin = matching_margin

    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)``, not normalised."""
        return self.norm(self.projection(self.pooled(features.maps[-1], features)))

    def feature_losses(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """``global``, and ``matching`` in the second stage; ``loss`` is their weighted sum.

        Only training batches are tuples: in evaluation mode both stages have the ``global`` loss alone.

        Raises:
            InputError: a training batch of the second stage that holds no whole number of tuples.
        """
        assert self.loss is not None
        feature_map = features.maps[-1]
        losses = {"global": self.loss(self.head(features), labels)}
        if self.recipe.stage != 2 or not self.training:
            return {"loss": losses["global"], **losses}
        size = self.recipe.tuple_size
        if len(labels) % size:
            raise InputError(
                f"cfcd's second stage trains on tuples of {size} images, got a batch of {len(labels)}; set "
                "train.batch_size to a multiple, and leave no broken image out (extract.on_error=error)"
            )
        losses["matching"] = matched_triplet_loss(feature_map, size, self.matching_ratio, self.matching_margin)
        return {"loss": losses["global"] + self.matching_weight * losses["matching"], **losses}

    def on_fit_start(self) -> None:
        """Before the second stage: find what the model takes every training image for, if that is not yet known.

        Raises:
            InputError: a second stage whose sampler makes no tuples.
        """
        if self.recipe.stage != 2:
            return
        if self.recipe.sampler != "hard-tuples":
            raise InputError(
                f"cfcd's second stage trains on hard tuples, not with sampler {self.recipe.sampler!r}; "
                "set train.sampler=hard-tuples"
            )
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if "predictions" not in data.mined:
            with self.trainer.precision_plugin.forward_context():
                data.remember(predictions=self.predicted_classes(data.mining_dataloader()))

    @torch.no_grad()
    def predicted_classes(self, loader: Any) -> Tensor:
        """The class that the model, in evaluation mode, takes each image of a loader for.

        Args:
            loader: batches of ``images`` or stored ``features``, and ``indices``, of a dataset of N images.

        Returns:
            ``(N,)`` int64 on the CPU, by index: the class of the largest cosine. -1 for images that the loader left
            out, and for all where the loss has no class weights; their tuples get random negatives.
        """
        found = torch.full((len(loader.dataset),), -1)
        if not isinstance(self.loss, ClassificationLoss):
            return found
        training = self.training
        self.eval()
        for batch in loader:
            cosines = self.loss.cosines(self.head(self.batch_features(batch)))
            found[batch["indices"]] = cosines.argmax(dim=1).cpu()
        self.train(training)
        return found
