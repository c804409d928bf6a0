"""CVNet-Global: backbone, GeM, one linear layer; trained by classification and by momentum contrast.

Lee et al., "Correlation Verification for Image Retrieval", CVPR 2022, sec. 3.1. There is no L2 between pooling and
projection.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.cvnet.momentum import MomentumContrast
from retrieval_bench.methods.cvnet.training_options import TrainingOptions
from retrieval_bench.methods.parts import Part, build_backbone, build_loss, build_pooling, resolve
from retrieval_bench.methods.protocols import pycls_protocol
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.features import Features

PROTOCOL = pycls_protocol((0.7071, 1.0, 1.4142), "cv2-area")
"""Of the published weights (sungonce/CVNet ``test/dataset.py``, ``test/test_utils.py``)."""

PARTS: dict[str, dict[str, Any]] = {
    "backbone": {"name": "resnet50"},
    "pooling": {"name": "gem", "p": 3.0},
    "loss": {"name": "curricularface", "margin": 0.15, "scale": 30.0},
}
"""The margin is the usual one, not read in the paper: unverified."""


class CvnetGlobal(RetrievalModule):
    """What every method on CVNet's global network shares.

    Args:
        method: its name.
        backbone, pooling, loss: parts; `PARTS` where None.
        dim: D of the descriptor, 2048 where None.
        num_classes: C of the training set; None leaves the classifier and the momentum branch out.
        training: weights of the losses and the momentum branch.
        options: further options of the method, stored with its settings.
        protocol: how images are read and scales are merged.
    """

    fixed_by_weights: ClassVar[tuple[str, ...]] = ("backbone", "dim", "queue_size")
    of_classes: ClassVar[tuple[str, ...]] = ("loss.", "contrast.")

    def __init__(
        self,
        *,
        method: str,
        backbone: Part | None,
        pooling: Part | None,
        loss: Part | None,
        dim: int | None,
        num_classes: int | None,
        training: TrainingOptions,
        options: Mapping[str, Any] | None = None,
        protocol: Protocol = PROTOCOL,
    ):
        given = {"backbone": backbone, "pooling": pooling, "loss": loss}
        parts = {kind: resolve(given[kind], default) for kind, default in PARTS.items()}
        size = dim or 2048
        super().__init__(
            method=method,
            settings={**parts, "dim": size, "num_classes": num_classes, **asdict(training), **(options or {})},
            protocol=protocol,
        )
        self.backbone = build_backbone(parts["backbone"], 2, parts["pooling"])
        self.pooling = build_pooling(parts["pooling"], self.backbone.channels[-1], self.backbone)
        self.projection = nn.Linear(self.pooling.out_channels, size)
        self.loss = build_loss(parts["loss"], size, num_classes)
        self.contrast = None if num_classes is None else self._momentum_branch(training)
        self.weights_of_losses = {"classification": training.class_weight, "contrast": training.contrast_weight}

    def _momentum_branch(self, training: TrainingOptions) -> MomentumContrast | None:
        if training.contrast_weight == 0:
            return None
        branch = MomentumContrast(
            {"backbone": self.backbone, "pooling": self.pooling, "projection": self.projection},
            self.projection.out_features,
            momentum=training.momentum,
            queue_size=training.queue_size,
            margin=training.contrast_margin,
            temperature=training.temperature,
            batchnorm=training.momentum_batchnorm,
        )
        # Every process fills the same queue by itself; sending it around at each step would cost more than the step.
        self._ddp_params_and_buffers_to_ignore = [f"contrast.queue.{name}" for name, _ in branch.queue.named_buffers()]
        return branch

    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)``, not normalised."""
        return self.projection(self.pooled(features.maps[-1], features))

    def training_losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``classification``, ``contrast`` unless its weight is 0, and ``loss``, their weighted sum."""
        assert self.loss is not None
        embedded = self.embed(images)
        losses = {"classification": self.loss(embedded, labels)}
        if self.contrast is not None:
            self.contrast.catch_up(self)
            with torch.no_grad():
                keys = self.contrast.network(images)
            losses["contrast"] = self.contrast(embedded, keys, labels)
        weighted = [self.weights_of_losses[name] * value for name, value in losses.items()]
        return {"loss": torch.stack(weighted).sum(), **losses}

    def follow(self) -> None:
        """Let the momentum network follow one step of the optimiser. Lightning's loop calls it; others have to."""
        if self.contrast is not None and self.recipe.stage == 1:
            self.contrast.follow(self)

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """As in Lightning, which comes here once per step whatever is accumulated, and before any checkpoint."""
        super().optimizer_step(*arguments, **options)
        self.follow()

    def on_train_start(self) -> None:
        """Start the momentum branch anew, unless the run resumes; bound the queue by one pass over the data."""
        if self.contrast is None or self.recipe.stage != 1:
            return
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            step = self.recipe.batch_size * self.trainer.world_size
            self.contrast.queue.limit(max(step, len(data.train_rows)))
        if self.trainer.ckpt_path is None:
            self.contrast.restart()
