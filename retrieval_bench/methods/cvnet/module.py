"""CVNet: a global descriptor, and a network that verifies pairs by their dense correlation (Lee et al., CVPR 2022)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.methods.cvnet.card import CARD
from retrieval_bench.methods.cvnet.checkpoint import FORMATS
from retrieval_bench.methods.cvnet.global_network import CvnetGlobal
from retrieval_bench.methods.cvnet.hiding import hide_share
from retrieval_bench.methods.cvnet.matcher import Matcher
from retrieval_bench.methods.cvnet.matching import matching_losses
from retrieval_bench.methods.cvnet.mining import hard_neighbours, triplets_within
from retrieval_bench.methods.cvnet.pre_activation import before_last_relu
from retrieval_bench.methods.cvnet.recipes import RECIPES
from retrieval_bench.methods.cvnet.training_options import TrainingOptions
from retrieval_bench.methods.registry import register_method
from retrieval_bench.settings.errors import InputError


@register_method("cvnet")
class Cvnet(CvnetGlobal):
    """CVNet-Global with CVNet-Rerank on its frozen maps.

    Training has two stages, which recipes name: 1, the global network by classification and momentum contrast; 2, the
    re-ranking network on the frozen maps of the first.

    Args:
        backbone: part; the last two stages are read, the re-ranking network looks at the first of them.
        pooling: part, over the last stage.
        loss: part, on the global descriptor.
        dim: D of the global descriptor, 2048 if not given.
        num_classes: C of the training set; None leaves out what only the training of the global network needs.
        class_weight, contrast_weight, contrast_margin, temperature, momentum, momentum_batchnorm, queue_size: of stage
            1, see `TrainingOptions`, which says which of them are unverified.
        matcher_dim: channels of the maps that are correlated.
        hide: probability that a position of a map is hidden, at the beginning and at the end of stage 2; unverified.
    """

    card = CARD
    formats = FORMATS
    recipes = RECIPES
    fixed_by_weights = (*CvnetGlobal.fixed_by_weights, "matcher_dim")
    has_feature_maps = True

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
        class_weight: float = TrainingOptions.class_weight,
        contrast_weight: float = TrainingOptions.contrast_weight,
        contrast_margin: float = TrainingOptions.contrast_margin,
        temperature: float = TrainingOptions.temperature,
        momentum: float = TrainingOptions.momentum,
        momentum_batchnorm: Literal["batch", "running"] = TrainingOptions.momentum_batchnorm,
        queue_size: int = TrainingOptions.queue_size,
        matcher_dim: int = 256,
        hide: tuple[float, float] = (0.0, 0.2),
    ):
        if matcher_dim < 1:
            raise InputError(f"matcher_dim must be at least 1, got {matcher_dim}")
        hide_share(0.0, *hide)  # refuses shares that are none
        super().__init__(
            method="cvnet",
            backbone=backbone,
            pooling=pooling,
            loss=loss,
            dim=dim,
            num_classes=num_classes,
            training=TrainingOptions(
                class_weight=class_weight,
                contrast_weight=contrast_weight,
                contrast_margin=contrast_margin,
                temperature=temperature,
                momentum=momentum,
                momentum_batchnorm=momentum_batchnorm,
                queue_size=queue_size,
            ),
            options={"matcher_dim": matcher_dim, "hide": list(hide)},
        )
        learnt_first = [name for name, parameter in self.named_parameters() if parameter.requires_grad]
        self.matcher = Matcher(self.backbone.channels[0], matcher_dim)
        learnt_second = [name for name, _ in self.named_parameters() if name.startswith("matcher.")]
        self._learnt: Mapping[int, Sequence[str]] = {1: learnt_first, 2: learnt_second}
        self.prepare_stage()

    def prepare_stage(self) -> None:
        """Let those parameters learn that the stage of `recipe` trains. Lightning's loop calls it; others have to.

        Raises:
            InputError: a stage that there is not.
        """
        if self.recipe.stage not in self._learnt:
            raise InputError(f"cvnet trains in the stages 1 (global) and 2 (re-ranking), not {self.recipe.stage}")
        learnt = set(self._learnt[self.recipe.stage])
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in learnt)
        self.train(self.training)

    def setup(self, stage: str) -> None:
        """As in Lightning; prepares the stage that is about to be trained."""
        if stage == "fit":
            self.prepare_stage()

    def train(self, mode: bool = True) -> "Cvnet":
        """As in torch, but in stage 2 the frozen global network keeps its running statistics."""
        super().train(mode)
        if self.recipe.stage == 2:
            for part in (self.backbone, self.pooling, self.projection):
                part.eval()
        return self

    def training_losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Stage 1: as in `CvnetGlobal`. Stage 2: those of the re-ranking network on pairs of the batch."""
        if self.recipe.stage == 1:
            return super().training_losses(images, labels)
        maps = self._maps(images)
        return matching_losses(self.matcher, maps, labels, self._hide_share(), self._generator())

    @torch.no_grad()
    def feature_maps(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` RGB images -> ``(B, C, h, w)``: the last stage but one before its last ReLU, at scale 1."""
        return self._maps(self.normalise(self.checked(images)))

    @torch.inference_mode()
    def match(self, query_images: Tensor, database_images: Tensor) -> Tensor:
        """The probability that each pair shows one landmark. It is not symmetric.

        Args:
            query_images: ``(B, 3, H, W)`` RGB, uint8 or float in [0, 1].
            database_images: ``(B, 3, H', W')``, likewise.

        Returns:
            ``(B,)`` float32.

        Raises:
            InputError: unequal numbers of images, images of another form, or weights without a re-ranking network.
        """
        if any(name.startswith("matcher.") for name in self.absent_weights):
            raise InputError(
                f"the weights {self.weights_source} hold no re-ranking network; give a whole CVNet checkpoint, or "
                "train it with train.recipe=rerank"
            )
        if len(query_images) != len(database_images):
            raise InputError(
                f"match compares pairs, got {len(query_images)} query and {len(database_images)} database images"
            )
        query, database = (self.matcher.pyramid(self.feature_maps(each)) for each in (query_images, database_images))
        return self.matcher.score(query, database).float()

    def validation_step(
        self, batch: Mapping[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor] | None:
        """As in the base; in stage 2 the held-out images of training classes are put together to triplets."""
        role = self.trainer.datamodule.validation_roles[dataloader_idx]  # type: ignore[attr-defined]
        if self.recipe.stage == 2 and role == "classification":
            rows = triplets_within(batch["labels"])
            # Processes must log alike, and one may find a triplet where another finds none.
            if len(rows) == 0 or self.trainer.world_size > 1:
                return None
            batch = {key: batch[key][rows] for key in ("images", "labels")}
        return super().validation_step(batch, batch_idx, dataloader_idx)

    def on_fit_start(self) -> None:
        """Before the second stage: look for hard negatives, if they are not yet known.

        Raises:
            InputError: a second stage whose sampler makes no triplets.
        """
        if self.recipe.stage != 2:
            return
        if self.recipe.sampler != "hard-triplets":
            raise InputError(
                f"cvnet's second stage trains on triplets, not with sampler {self.recipe.sampler!r}; "
                "set train.sampler=hard-triplets"
            )
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if "neighbours" not in data.mined:
            with self.trainer.precision_plugin.forward_context():
                data.remember(neighbours=self.hard_negatives(data.mining_dataloader()))

    @torch.no_grad()
    def hard_negatives(self, loader: Any) -> Tensor:
        """The images of other classes whose global descriptors are most alike.

        Args:
            loader: batches of ``images``, ``labels`` and ``indices``, of a dataset of N images.

        Returns:
            ``(N, K)`` int64 on the CPU, by index, best first; -1 for images that the loader left out.

        Raises:
            InputError: all images are of one class.
        """
        parts = []
        for batch in loader:
            described = self.global_descriptors(self.normalise(self.checked(batch["images"], describing=False)))
            parts.append((described.cpu(), batch["labels"].cpu(), batch["indices"].cpu()))
        descriptors, labels, indices = (torch.cat(column) for column in zip(*parts, strict=True))
        neighbours = indices[hard_neighbours(descriptors, labels, device=self.device)]
        return torch.full((len(loader.dataset), neighbours.shape[1]), -1).index_copy(0, indices, neighbours)

    @torch.no_grad()
    def _maps(self, images: Tensor) -> Tensor:
        with before_last_relu(self.backbone) as taken:
            return taken(self.backbone(images))

    def _hide_share(self) -> float:
        """The share of positions to hide now: it grows from epoch to epoch, and there is none in evaluation."""
        if not self.training:
            return 0.0
        return hide_share(min(1.0, self.current_epoch / max(1, self.recipe.epochs - 1)), *self.settings["hide"])

    def _generator(self) -> torch.Generator | None:
        """Of the choice of positions, from seed and batch, so that a resumed run hides the same; None without a run."""
        if self._trainer is None:
            return None
        batch = self.trainer.fit_loop.epoch_loop.total_batch_idx
        seeds = (getattr(self.trainer.datamodule, "seed", 0), batch, self.global_rank)  # type: ignore[attr-defined]
        state = int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0])
        return torch.Generator(self.device).manual_seed(state >> 1)
