"""DELG: one backbone, a global descriptor and attentive local features (Cao, Araujo, Sim, ECCV 2020)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.delg.card import CARD
from retrieval_bench.methods.delg.checkpoint import FORMATS
from retrieval_bench.methods.delg.local import AutoencoderBranch, NormalisedBranch
from retrieval_bench.methods.delg.presets import PRESETS
from retrieval_bench.methods.delg.recipes import RECIPES
from retrieval_bench.methods.delg.selection import Selection, select
from retrieval_bench.methods.merging import merge_scales
from retrieval_bench.methods.parts import build_backbone, build_loss, build_pooling, resolve
from retrieval_bench.methods.registry import register_method
from retrieval_bench.pooling.attentive import LocalMaps
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.values.features import Features
from retrieval_bench.values.local_features import LocalFeatures


@register_method("delg")
class Delg(RetrievalModule):
    """DELG as in the paper, or as in its widely used PyTorch re-implementation.

    Args:
        backbone: part; the last two stages are read.
        pooling: part, over the last stage.
        loss: part, on the global descriptor.
        dim: D of the global descriptor.
        num_classes: C of the training set; None leaves the classifiers out.
        variant: ``"paper"`` (2048-D, 128-D codes of an autoencoder, ArcFace) or ``"pytorch"`` (feymanpriv/DELG: 512-D,
            512-D local descriptors, curricular margin, BGR). It sets the default of everything below.
        local_dim: d of local descriptors.
        attention_dim: hidden channels of the attention; the pytorch variant has `local_dim` of them.
        attention_weight, reconstruction_weight: of the losses.
        local_scales: image pyramid of the local features.
        score_rule, score_threshold: which locations are kept, see `Selection`.
        max_features: local features per image.
    """

    card = CARD
    formats = FORMATS
    recipes = RECIPES
    fixed_by_weights = ("backbone", "dim", "variant", "local_dim", "attention_dim")
    of_classes = ("loss.", "local.classifier.")
    has_local_features = True

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
        variant: str = "paper",
        local_dim: int | None = None,
        attention_dim: int = 512,
        attention_weight: float = 1.0,
        reconstruction_weight: float = 10.0,
        local_scales: Sequence[float] | None = None,
        score_rule: Literal["top", "fixed", "halving"] | None = None,
        score_threshold: float | None = None,
        max_features: int = 1000,
    ):
        if variant not in PRESETS:
            raise InputError(nearest(variant, PRESETS, noun="variant of delg"))
        preset = PRESETS[variant]
        for key, value in (("local_dim", local_dim), ("attention_dim", attention_dim), ("max_features", max_features)):
            if value is not None and value < 1:
                raise InputError(f"delg: {key} must be at least 1, got {value}")
        parts = {
            "backbone": resolve(backbone, {"name": "resnet50"}),
            "pooling": resolve(pooling, preset.pooling),
            "loss": resolve(loss, preset.loss),
        }
        size, local_size = dim or preset.dim, local_dim or preset.local_dim
        super().__init__(
            method="delg",
            settings={
                **parts,
                "dim": size,
                "local_dim": local_size,
                "num_classes": num_classes,
                "variant": variant,
                "attention_dim": attention_dim,
                "attention_weight": attention_weight,
                "reconstruction_weight": reconstruction_weight,
                "local_scales": list(local_scales or preset.local_scales),
                "score_rule": score_rule or preset.score_rule,
                "score_threshold": preset.score_threshold if score_threshold is None else score_threshold,
                "max_features": max_features,
            },
            protocol=preset.protocol,
        )
        self.backbone = build_backbone(parts["backbone"], 2, parts["pooling"])
        map_channels, out_channels = self.backbone.channels
        self.pooling = build_pooling(parts["pooling"], out_channels, self.backbone)
        self.projection = nn.Linear(self.pooling.out_channels, size)
        self.local = (
            NormalisedBranch(map_channels, local_size, num_classes)
            if variant == "pytorch"
            else AutoencoderBranch(map_channels, local_size, attention_dim, num_classes)
        )
        self.loss = build_loss(parts["loss"], size, num_classes)
        self.weights_of_losses = {"attention": attention_weight, "reconstruction": reconstruction_weight}
        self.selection = Selection(
            self.settings["score_rule"], self.settings["score_threshold"], max_features, preset.overlap
        )

    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)``: g = F GeM(last map) + b."""
        return self.projection(self.pooled(features.maps[-1], features))

    def feature_losses(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """``global``, ``attention`` and, in the paper's variant, ``reconstruction``; ``loss`` is their weighted sum."""
        assert self.loss is not None
        local = self.local.training_losses(features.maps[-2], labels)
        losses = {"global": self.loss(self.head(features), labels), **local}
        weighted = [self.weights_of_losses.get(name, 1.0) * value for name, value in losses.items()]
        return {"loss": torch.stack(weighted).sum(), **losses}

    @torch.no_grad()
    def local_features(self, images: Tensor) -> list[LocalFeatures]:
        """Attentive local features of ``(B, 3, H, W)`` RGB images, one entry per image; keypoints in input pixels."""
        self._require_local_branch()
        scales = self.settings["local_scales"]
        maps = [self.local(features.maps[-2]) for _, features in self.pyramid(images, scales)]
        return self._select(maps, scales, len(images))

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int = 0) -> dict[str, Any]:
        """As in the base; global and local features share one pass over the union of their scales."""
        if not self.extract_local:
            return super().predict_step(batch, batch_idx)
        self._require_local_branch()
        wanted = self.extraction_scales or self.protocol.scales
        local_scales = self.settings["local_scales"]
        parts, maps = {}, {}
        stored = batch.get("pyramid")
        pyramid = self.pyramid(batch["images"], self.described_scales(local=True)) if stored is None else stored
        for scale, features in pyramid:
            if scale in wanted:
                parts[scale] = self.head(features)
            if scale in local_scales:
                maps[scale] = self.local(features.maps[-2])
        return {
            "indices": batch["indices"],
            "descriptors": merge_scales([parts[scale] for scale in wanted], self.protocol, self.merge_exponent()),
            "local_features": self._select([maps[s] for s in local_scales], local_scales, len(batch["indices"])),
        }

    def described_scales(self, *, local: bool) -> tuple[float, ...]:
        """As in the base; with local features, the union of both pyramids."""
        scales = super().described_scales(local=False)
        return tuple(sorted({*scales, *self.settings["local_scales"]})) if local else scales

    @torch.no_grad()
    def attention_maps(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` RGB images -> ``(B, 1, h, w)`` attention at scale 1."""
        return self.local(self.backbone(self.normalise(self.checked(images)))[0]).scores

    def _require_local_branch(self) -> None:
        if "local.hidden.weight" in self.absent_weights:
            raise InputError(f"the weights {self.weights_source} hold no local branch; give a whole DELG checkpoint")

    def _select(self, maps: Sequence[LocalMaps], scales: Sequence[float], count: int) -> list[LocalFeatures]:
        stride = self.backbone.strides[0]
        return [select(maps, scales, image, stride, self.selection) for image in range(count)]
