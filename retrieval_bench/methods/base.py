"""What all methods share: images in, unit descriptors out, one training step, one way to be saved."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from retrieval_bench.backbones.base import Backbone
from retrieval_bench.losses.base import check_labels
from retrieval_bench.methods.card import MethodCard
from retrieval_bench.methods.checkpoints import CheckpointFormat
from retrieval_bench.methods.freezing import freeze, hold, hold_statistics
from retrieval_bench.methods.image_values import as_unit_range, require_rgb
from retrieval_bench.methods.merging import merge_scales, unit
from retrieval_bench.methods.optimisation import configure
from retrieval_bench.methods.pyramid import image_pyramid
from retrieval_bench.pooling.base import Pooling, pool
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.values.features import Features
from retrieval_bench.values.local_features import LocalFeatures
from retrieval_bench.weights.own_entry import OWN, entry_of


class RetrievalModule(pl.LightningModule, ABC):
    """Base of every method.

    A method builds its network in ``__init__`` and says what it makes of the backbone's features: `head`. What most
    have, they have under the same names: ``backbone``, ``pooling``, ``projection`` and ``loss``. Everything else, from
    colour order to checkpoints, is the same for all; `feature_losses` is there to be overridden.

    Args:
        method: its name.
        settings: the constructor's arguments, plain values; they are stored with every checkpoint.
        protocol: how its images are read, normalised and merged over scales.

    Attributes:
        fixed_by_weights: constructor arguments that a checkpoint's tensors decide.
        of_classes: prefixes of the tensors that belong to the training classes.
        recipes: training recipes by name: ``base`` is common to all methods, ``published`` the authors'.
        loads_from: other methods whose checkpoints of ours this one takes the weights from.
        extraction_scales: overrides the protocol's scales in `predict_step`; None keeps them.
        extract_local: whether `predict_step` also returns local features.
        trained_on: the training set of the weights, for the protocol card.
        weights_source: where the weights came from, for the protocol card.
        normalisation_source: whose mean, deviation and channel order the protocol has, for the protocol card.
        loaded_weights: our tensors that came from a file.
        unused_weights: published tensor -> why it was not needed.
        absent_weights: our tensors that the file lacked and its format may lack; they have their initial values.
    """

    recipes: ClassVar[Mapping[str, Recipe]] = {"base": Recipe()}
    formats: ClassVar[Sequence[CheckpointFormat]] = ()
    loads_from: ClassVar[tuple[str, ...]] = ()
    card: ClassVar[MethodCard]
    has_local_features: ClassVar[bool] = False
    has_feature_maps: ClassVar[bool] = False
    fixed_by_weights: ClassVar[tuple[str, ...]] = ("backbone", "dim")
    of_classes: ClassVar[tuple[str, ...]] = ("loss.",)

    mean: Tensor
    std: Tensor

    def __init__(self, *, method: str, settings: Mapping[str, Any], protocol: Protocol):
        super().__init__()
        self.method = method
        self.settings = dict(settings)
        self.protocol = protocol
        self.recipe = Recipe()
        self.extraction_scales: tuple[float, ...] | None = None
        self.extract_local = False
        self.weights_source = "random initialisation"
        self.normalisation_source = f"method {method}"
        self.trained_on = "nothing: random initialisation"
        self.loaded_weights: frozenset[str] = frozenset()
        self.unused_weights: dict[str, str] = {}
        self.absent_weights: tuple[str, ...] = ()
        self.register_buffer("mean", torch.tensor(protocol.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(protocol.std).view(1, 3, 1, 1), persistent=False)

    @property
    def descriptor_dim(self) -> int:
        """D of the descriptor: what ``projection`` gives, where a method says nothing else."""
        return int(cast(nn.Linear, self.projection).out_features)

    def features(self, images: Tensor) -> Features:
        """``(B, 3, H, W)`` normalised images of one scale -> what the backbone gives for them."""
        return cast(Backbone, self.backbone).features(images)

    @abstractmethod
    def head(self, features: Features) -> Tensor:
        """What the backbone gives for B images -> ``(B, D)`` descriptors, not normalised."""

    def pooled(self, feature_map: Tensor, features: Features) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C')``: the pooling, which may look at more of the features than that map."""
        return pool(cast(Pooling, self.pooling), feature_map, features)

    def embed(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` normalised images of one scale -> ``(B, D)`` descriptors, not normalised."""
        return self.head(self.features(images))

    def feature_losses(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """What the backbone gives for B images and ``(B,)`` labels -> scalar losses; ``loss`` is what is minimised.

        Where a method says nothing else it has one, the loss part on the descriptor before normalisation.
        """
        return {"loss": cast(nn.Module, self.loss)(self.head(features), labels)}

    def training_losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``(B, 3, H, W)`` normalised images and ``(B,)`` labels -> as `feature_losses`.

        To be overridden where a loss needs the images themselves; such a method cannot train on stored features.
        """
        return self.feature_losses(self.features(images), labels)

    def batch_features(self, batch: Mapping[str, Any]) -> Features:
        """The stored ``features`` of a batch, or those of its ``images``."""
        if "features" in batch:
            return cast(Features, batch["features"]).to(self.device)
        return self.features(self.normalise(self.checked(batch["images"])))

    def batch_losses(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """`losses` of a batch: of its stored ``features`` where it has some, else of its ``images``."""
        if "features" not in batch:
            return self.losses(batch["images"], batch["labels"])
        self._check_training(batch["labels"], len(batch["features"].maps[-1]))
        return self.feature_losses(batch["features"], batch["labels"])

    def as_trained(self) -> AbstractContextManager[None]:
        """Leaves out meanwhile what the network has in evaluation mode only."""
        return nullcontext()

    def merge_exponent(self) -> float:
        """p of power means over scales, where the protocol names none."""
        return 1.0

    def global_descriptors(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` normalised images of one scale -> ``(B, D)`` unit descriptors."""
        return unit(self.embed(images))

    def forward(self, images: Tensor) -> Tensor:
        """As `global_descriptors`."""
        return self.global_descriptors(images)

    @torch.no_grad()
    def describe(self, images: Tensor, scales: Sequence[float] | None = None) -> Tensor:
        """Describe images of one size.

        Args:
            images: ``(B, 3, H, W)`` RGB, uint8 or float in [0, 1].
            scales: the image pyramid; None is the published protocol of the method.

        Returns:
            ``(B, D)`` float32, unit L2 norm.

        Raises:
            InputError: another shape or value range, or a model in training mode.
        """
        pyramid = image_pyramid(self.checked(images), self.protocol.scales if scales is None else scales, self.protocol)
        parts = [self.embed(self.normalise(level)) for _, level in pyramid]
        return merge_scales(parts, self.protocol, self.merge_exponent())

    def pyramid(self, images: Tensor, scales: Sequence[float] | None = None) -> Iterator[tuple[float, Features]]:
        """``(B, 3, H, W)`` RGB images -> scale and features, for every scale that the protocol keeps; as `describe`."""
        wanted = self.protocol.scales if scales is None else scales
        for scale, level in image_pyramid(self.checked(images), wanted, self.protocol):
            yield scale, self.features(self.normalise(level))

    @torch.no_grad()
    def described(self, pyramid: Iterable[tuple[float, Features]]) -> Tensor:
        """As `describe`, of what `pyramid` gave: ``(B, D)`` float32, unit L2 norm."""
        parts = [self.head(features) for _, features in pyramid]
        return merge_scales(parts, self.protocol, self.merge_exponent())

    def described_scales(self, *, local: bool) -> tuple[float, ...]:
        """The scales of the pyramids that `predict_step` can take in place of images.

        Raises:
            InputError: local features, where the method makes them of the images themselves.
        """
        if local:
            raise InputError(f"{self.method} makes no local features of stored ones; set train.stored_features=false")
        return self.protocol.scales if self.extraction_scales is None else self.extraction_scales

    def local_features(self, images: Tensor) -> list[LocalFeatures]:
        """Attentive local features of ``(B, 3, H, W)`` RGB images, one entry per image; keypoints in input pixels.

        Raises:
            InputError: the method has none.
        """
        raise InputError(f"method {self.method!r} has no local features; delg and delf have")

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Training losses of ``(B, 3, H, W)`` RGB images, uint8 or float in [0, 1], with ``(B,)`` integer labels.

        Returns:
            scalar tensors by name; ``loss`` is what is minimised.

        Raises:
            InputError: the model was built without ``num_classes``, a label is out of range, or images are wrong.
        """
        self._check_training(labels, len(images))
        return self.training_losses(self.normalise(self.checked(images, describing=False)), labels.to(self.device))

    def _check_training(self, labels: Tensor, count: int) -> None:
        classes = self.settings.get("num_classes")
        if not classes:
            raise InputError(f"{self.method} was built without num_classes; give it to create_model to train")
        check_labels(labels, count, classes)

    def checked(self, images: Tensor, *, describing: bool = True) -> Tensor:
        """RGB images as float in [0, 1] on the model's device, or an error that says what they are instead."""
        if describing and self.training:
            raise InputError("the model is in training mode, where batch statistics leak between images; call .eval()")
        require_rgb(images)
        return as_unit_range(images.to(self.device, non_blocking=True))

    def normalise(self, images: Tensor) -> Tensor:
        """RGB in [0, 1] -> the mean, deviation and channel order that the weights expect."""
        normalised = (images - self.mean) / self.std
        return normalised.flip(1) if self.protocol.channel_order == "bgr" else normalised

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """One step on ``images``, or stored ``features``, and ``labels``; every loss is logged."""
        losses = self.batch_losses(batch)
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in losses.items()},
            prog_bar=False,
            on_step=True,
            on_epoch=True,
            batch_size=len(batch["labels"]),
        )
        return losses["loss"]

    def validation_step(
        self, batch: Mapping[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor] | None:
        """Losses on held-out images of the training classes; descriptors of the retrieval split."""
        if self.trainer.datamodule.validation_roles[dataloader_idx] == "retrieval":  # type: ignore[attr-defined]
            stored = batch.get("pyramid")
            described = self.describe(batch["images"], scales=(1.0,)) if stored is None else self.described(stored)
            return {"indices": batch["indices"], "labels": batch["labels"], "descriptors": described}
        losses = self.batch_losses(batch)
        self.log_dict(
            {f"validation/{name}": value for name, value in losses.items()},
            batch_size=len(batch["labels"]),
            sync_dist=True,
            add_dataloader_idx=False,
        )
        return None

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int = 0) -> dict[str, Any]:
        """``indices`` and ``images`` of one shape -> ``indices``, ``descriptors`` and, if asked, ``local_features``.

        In place of the images a batch may have their ``pyramid`` at `described_scales`, as `pyramid` gives it.
        """
        if "pyramid" in batch:
            return {"indices": batch["indices"], "descriptors": self.described(batch["pyramid"])}
        result = {"indices": batch["indices"], "descriptors": self.describe(batch["images"], self.extraction_scales)}
        if self.extract_local:
            result["local_features"] = self.local_features(batch["images"])
        return result

    def configure_model(self) -> None:
        """Take what the recipe freezes out of training. Lightning's loop comes here after `setup`."""
        freeze(self, self.recipe)

    def train(self, mode: bool = True) -> Self:
        """As in torch, but what the recipe freezes stays in evaluation mode."""
        super().train(mode)
        hold(self, self.recipe)
        return self

    def on_train_epoch_start(self) -> None:
        """Fix the running statistics where the recipe says so; the affine parameters still learn."""
        hold_statistics(self, self.recipe)

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule of `recipe`, stepped per batch."""
        return configure(self, self.recipe, int(self.trainer.estimated_stepping_batches))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what `create_model` needs to build this model again."""
        checkpoint[OWN] = self.own_entry()

    def own_entry(self) -> str:
        """JSON with the method, its constructor arguments and its normalisation, as stored in checkpoints."""
        settings = dict(self.settings)
        # The trained tensors replace what the backbone started from; what they expect is stored beside the settings.
        kept = {k: v for k, v in settings["backbone"].items() if k not in ("pretrained", "weights", "normalisation")}
        settings["backbone"] = kept | dict(getattr(getattr(self, "backbone", None), "portable", {}))
        normalisation = Normalisation.of(self.protocol, self.normalisation_source)
        return entry_of(self.method, settings, self.trained_on, normalisation)
