"""The one DataModule of all methods: RGB `uint8` batches for training, validation, queries and database.

Normalisation, channel order and scales belong to the method and happen on its device.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.loops.progress import _ProcessedTracker, _StartedTracker

from retrieval_bench.data.batching import training_sampler
from retrieval_bench.data.predict import ExtractionLoader, OnError
from retrieval_bench.data.samplers import EpochSampler, ShardSampler
from retrieval_bench.data.splitting import split_per_class
from retrieval_bench.data.training import DecodedImages, LabelledLoader, LabelledViews
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset

SMALLEST_SPLIT_CLASS = 4
"""A class with fewer training images gives none of them to validation."""


def default_workers() -> int:
    """Worker processes where the user does not say: none on one core, one on two or three, else two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores // 2, 2)


class RetrievalDataModule(pl.LightningDataModule):
    """A dataset as loaders.

    Training and classification validation yield ``{"images": uint8 RGB (B, 3, S, S), "labels", "indices"}``; retrieval
    validation, queries and database yield whole images of like shape, as `ExtractionLoader` says.

    Validation of two kinds, as far as the dataset has them; `validation_roles` says which loader is which:

    - "classification": `dataset.validation` where its classes are the training classes, else a share of each
      training class.
    - "retrieval": leave-one-out over `dataset.validation` (every image asks for the others of its class); batches carry
      "labels".

    Samplers of hard examples need what the model finds in the training images: it goes over `mining_dataloader` before
    the first epoch and calls `remember`. Checkpoints keep what is in `mined`.

    Args:
        dataset: what to load.
        recipe: batch size, crop and augmentation of training.
        protocol: reading, cropping and resizing of whole images.
        seed: of the order, the views and the held-out share.
        workers: decoding processes of each loader; None: `default_workers`.
        batch_size_extract: the most whole images of one batch.
        cache: "memory" keeps the decoded training images (at most 4 GiB), "none" decodes them in every epoch.
        validation_share: of each training class with at least four images; 0 holds nothing out.
        on_error: a broken image ends the pass ("error") or is left out and reported ("skip").

    Raises:
        InputError: a share outside 0..1, or an unknown setting.
    """

    def __init__(
        self,
        dataset: RetrievalDataset,
        recipe: Recipe,
        protocol: Protocol,
        *,
        seed: int = 0,
        workers: int | None = None,
        batch_size_extract: int = 8,
        cache: Literal["none", "memory"] = "none",
        validation_share: float = 0.05,
        on_error: OnError = "error",
    ):
        super().__init__()
        if not 0 <= validation_share < 1:
            raise InputError(f"validation_share is {validation_share}; it must lie in 0..1, 1 excluded")
        if cache not in ("none", "memory"):
            raise InputError(f"cache is {cache!r}; it is none or memory")
        if on_error not in ("error", "skip"):
            raise InputError(f"on_error is {on_error!r}; it is error or skip")
        self.dataset = dataset
        self.recipe = recipe
        self.protocol = protocol
        self.seed = seed
        self.workers = default_workers() if workers is None else workers
        self.batch_size_extract = batch_size_extract
        self.cache = cache
        self.on_error: OnError = on_error
        self.retrieval_validation = dataset.validation
        self.train_rows: Sequence[int] = range(0)
        self.validation_rows: Sequence[int] = range(0)
        self.classified: LabelledImages | None = dataset.train
        if dataset.train is not None:
            self.train_rows = range(len(dataset.train))
            if dataset.validation is not None and list(dataset.validation.classes) == list(dataset.train.classes):
                self.classified = dataset.validation
                self.validation_rows = range(len(dataset.validation))
            elif validation_share:
                self.train_rows, self.validation_rows = split_per_class(
                    dataset.train.labels, 1 - validation_share, seed, minimum=SMALLEST_SPLIT_CLASS
                )
        self.mined: Mapping[str, torch.Tensor] = {}
        self._sampler: EpochSampler | None = None
        self._decoded: DecodedImages | None = None

    @property
    def num_classes(self) -> int:
        """Training classes; 0 where the dataset has no training images."""
        return 0 if self.dataset.train is None else len(self.dataset.train.classes)

    @property
    def validation_roles(self) -> list[str]:
        """What each loader of `val_dataloader` is for: "classification", "retrieval"."""
        roles = ["classification"] if len(self.validation_rows) else []
        return [*roles, "retrieval"] if self.retrieval_validation is not None else roles

    def train_dataloader(self) -> LabelledLoader:
        """Random views, in an order new in every epoch. A run resumed within an epoch goes on where it was.

        Raises:
            InputError: the dataset has no training images.
        """
        sampler = self.training_order()
        views = self._views(cast(LabelledImages, self.dataset.train), self.train_rows, "train")
        sampler.know(self.mined)
        self._sampler = sampler
        size = self.recipe.batch_size
        # One image alone has no batch statistics.
        lonely = len(sampler) > 1 and len(sampler) % size == 1
        loader = self._labelled_loader(views, sampler, size, drop_last=lonely)
        epoch, batches = self._progress(len(loader))
        sampler.start_at(epoch, batches * size)
        return loader

    def training_order(self) -> EpochSampler:
        """The sampler that the recipe names, over this rank's share of the training images. No file is read.

        Raises:
            InputError: the dataset has no training images, or too few of a class for that sampler.
        """
        rank, world = self._rank()
        return training_sampler(self.recipe, self._training_images().labels, seed=self.seed, rank=rank, world=world)

    def mining_dataloader(self, rows: Sequence[int] | None = None) -> LabelledLoader:
        """Every training image once, or those of `rows`, in order, whole on each rank, in its deterministic view.

        ``indices`` are the rows that samplers count, from 0 to the number of training images without the held-out ones.
        """
        train = self._training_images()
        views = self._views(train, range(len(train)), "validation")
        sampler = ShardSampler(len(train)) if rows is None else [(0, row) for row in rows]
        return self._labelled_loader(views, sampler, self.recipe.batch_size)

    def remember(self, **found: torch.Tensor) -> None:
        """Keep what the model mined: ``predictions`` (N,), the class it takes each image for, or ``neighbours`` (N, K),
        the images of other classes that it finds most alike; rows as in `mining_dataloader`."""
        self.mined = {**self.mined, **found}
        if self._sampler is not None:
            # Lightning asks for the loader before it lets a model mine.
            self._sampler.know(self.mined)

    def state_dict(self) -> dict[str, Any]:
        """What was mined: a resumed run goes on with the same."""
        return {"mined": dict(self.mined)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what an interrupted run had mined."""
        self.remember(**state_dict["mined"])

    def val_dataloader(self) -> list[Any]:
        """The loaders that `validation_roles` names, in that order."""
        loaders: list[Any] = []
        rank, world = self._rank()
        if self.classified is not None and len(self.validation_rows):
            views = self._views(self.classified, self.validation_rows, "validation")
            sampler = ShardSampler(len(self.validation_rows), rank=rank, world=world)
            loaders.append(self._labelled_loader(views, sampler, self.recipe.batch_size))
        if self.retrieval_validation is not None:
            held_out = self.retrieval_validation
            names = [f"{row:07d}" for row in range(len(held_out))]
            images = ImageList(names, list(held_out.paths))
            loaders.append(self.retrieval_loader(images, held_out.labels))
        return loaders

    def retrieval_loader(self, images: ImageList, labels: Sequence[int]) -> Any:
        """Whole images of retrieval validation, with their labels."""
        return self.extraction_loader(images, labels=labels)

    def query_dataloader(self) -> ExtractionLoader:
        """The queries, cut to their boxes."""
        return self.extraction_loader(self.dataset.queries)

    def database_dataloader(self) -> ExtractionLoader:
        """The database."""
        return self.extraction_loader(self.dataset.database)

    def predict_dataloader(self) -> list[Any]:
        """Queries, then database."""
        return [self.query_dataloader(), self.database_dataloader()]

    def extraction_loader(
        self,
        image_list: ImageList,
        protocol: Protocol | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
        on_error: OnError | None = None,
        labels: Sequence[int] | None = None,
    ) -> ExtractionLoader:
        """This rank's share of any images, in batches of like shape; None takes the module's own setting."""
        rank, world = self._rank()
        return ExtractionLoader(
            image_list,
            protocol or self.protocol,
            batch_size=batch_size or self.batch_size_extract,
            workers=self.workers if workers is None else workers,
            on_error=on_error or self.on_error,
            rank=rank,
            world=world,
            labels=labels,
            pin_memory=torch.cuda.is_available(),
        )

    def _training_images(self) -> LabelledImages:
        """The training images without those held out.

        Raises:
            InputError: there are none.
        """
        train, rows = self.dataset.train, self.train_rows
        if train is None or not len(rows):
            raise InputError(f"dataset {self.dataset.name!r} has no training images; choose another or give weights=")
        return LabelledImages([train.paths[row] for row in rows], [train.labels[row] for row in rows], train.classes)

    def _views(
        self, images: LabelledImages, rows: Sequence[int], view: Literal["train", "validation"]
    ) -> LabelledViews:
        return LabelledViews(
            images,
            rows,
            self.recipe,
            view,
            seed=self.seed,
            exif=self.protocol.exif,
            decoded=None if images is self.dataset.validation else self._decoded_images(),
        )

    def _labelled_loader(
        self, views: LabelledViews, sampler: Any, batch_size: int, drop_last: bool = False
    ) -> LabelledLoader:
        return LabelledLoader(
            views,
            sampler=sampler,
            batch_size=batch_size,
            workers=self.workers,
            on_error=self.on_error,
            pin_memory=torch.cuda.is_available(),
            drop_last=drop_last,
        )

    def _decoded_images(self) -> DecodedImages | None:
        if self.cache == "memory" and self._decoded is None and self.dataset.train is not None:
            self._decoded = DecodedImages(self.dataset.train.paths, self.protocol.exif)
        return self._decoded

    def _rank(self) -> tuple[int, int]:
        if self.trainer is not None:
            return self.trainer.global_rank, self.trainer.world_size
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _progress(self, batches: int) -> tuple[int, int]:
        """The epoch that comes next and its batches that a resumed run has behind it; an epoch has `batches`."""
        if self.trainer is None:
            return 0, 0
        loop = self.trainer.fit_loop
        started = cast(_StartedTracker, loop.epoch_progress.current).started
        done = cast(_ProcessedTracker, loop.epoch_loop.batch_progress.current).processed
        # Checkpoints are written before the counter of whole epochs moves on.
        return (started, 0) if started == 0 or done >= batches else (started - 1, done)
