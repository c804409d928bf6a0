"""The DataModule of a training on stored features."""

from collections.abc import Sequence
from typing import Any, Literal

from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.data.training import LabelledViews
from retrieval_bench.frozen.feeding import StoredFeed
from retrieval_bench.frozen.source import FeatureSource, Wanted
from retrieval_bench.frozen.store import FeatureStore
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset
from retrieval_bench.values.features import Features


class StoredViews(LabelledViews):
    """As `LabelledViews` in centre views, but items are what the backbone made of them: ``features`` for ``image``.

    Args:
        images: files and labels.
        rows: which of them, in the order in which samplers count.
        recipe: of the training.
        store: with the features.
        stored_rows: of each of `rows`, its row in the store.
    """

    def __init__(
        self,
        images: LabelledImages,
        rows: Sequence[int],
        recipe: Recipe,
        store: FeatureStore,
        stored_rows: Sequence[int],
    ):
        super().__init__(images, rows, recipe, "validation", seed=0)
        self.store = store
        self.stored_rows = stored_rows
        self._reasons = dict(store.skipped)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        _, row = key
        index, stored = self.rows[row], self.stored_rows[row]
        if stored not in self.store:
            return {"error": self._reasons[stored]}
        return {"stored": stored, "label": self.images.labels[index], "index": index}

    def stacked(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """``features`` of the items, all of one shape."""
        return {"features": self.store.stacked([item["stored"] for item in items]) if items else Features(())}


class FeatureDataModule(RetrievalDataModule):
    """As `RetrievalDataModule`, but training and validation yield stored features in place of images.

    Batches of labelled images have ``features``, those of whole images ``pyramid``. Nothing is decoded once the stores
    are there.

    Args:
        dataset, recipe: as there; views are centre views.
        source: opens or makes the stores.
        options: of `RetrievalDataModule`.
    """

    def __init__(self, dataset: RetrievalDataset, recipe: Recipe, source: FeatureSource, **options: Any):
        super().__init__(dataset, recipe, source.model.protocol, **{**options, "workers": 0, "cache": "none"})
        stores = source.open(*training_stores(self, source).values())
        self._stores = dict(zip(training_stores(self, source), stores, strict=True))

    def retrieval_loader(self, images: ImageList, labels: Sequence[int]) -> StoredFeed:
        """Features of the whole images of retrieval validation."""
        rank, world = self._rank()
        return StoredFeed(self._stores["retrieval"], labels=labels, rank=rank, world=world)

    def _views(
        self, images: LabelledImages, rows: Sequence[int], view: Literal["train", "validation"]
    ) -> LabelledViews:
        if images is self.dataset.validation:
            return StoredViews(images, rows, self.recipe, self._stores["validation"], rows)
        # Samplers of hard examples count the training images without the held-out ones.
        stored = rows if images is self.dataset.train else [self.train_rows[row] for row in rows]
        return StoredViews(images, rows, self.recipe, self._stores["train"], stored)


def training_stores(data: RetrievalDataModule, source: FeatureSource) -> dict[str, Wanted]:
    """What a training reads: "train", and "validation" and "retrieval" where the dataset has them."""
    size, together, found = data.recipe.image_size, data.recipe.batch_size, {}
    if data.dataset.train is not None:
        found["train"] = source.views(data.dataset.train, size, "features of training images", together)
    held_out = data.retrieval_validation
    if held_out is not None:
        if held_out is data.classified:
            found["validation"] = source.views(held_out, size, "features of validation images", together)
        names = [f"{row:07d}" for row in range(len(held_out))]
        images = ImageList(names, list(held_out.paths))
        found["retrieval"] = source.images(images, (1.0,), "features of whole validation images", training=True)
    return found
