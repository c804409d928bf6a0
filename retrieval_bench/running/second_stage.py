"""What a re-ranker looks at, one entry per query and one per database row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from retrieval_bench.data.loading import load_for_protocol
from retrieval_bench.extraction.store import DescriptorStore
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.values.dataset import ImageList, RetrievalDataset
from retrieval_bench.values.local_features import LocalFeatures


@dataclass(frozen=True)
class FeatureMaps:
    """Feature maps ``(C, h, w)`` of an image list, computed when they are asked for.

    Attributes:
        model: has `feature_maps`.
        images: read as the model's protocol says, at scale 1.
    """

    model: Any
    images: ImageList

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, row: int) -> Tensor: ...

    @overload
    def __getitem__(self, row: slice) -> "FeatureMaps": ...

    def __getitem__(self, row: int | slice) -> "Tensor | FeatureMaps":
        if isinstance(row, slice):
            images = self.images
            return FeatureMaps(self.model, ImageList(images.names[row], images.paths[row], images.boxes[row]))
        pixels = load_for_protocol(self.images.paths[row], self.images.boxes[row], self.model.protocol)
        with torch.inference_mode():
            return self.model.feature_maps(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])[0]


@dataclass(frozen=True)
class Described:
    """What the first stage knows of both sides.

    Attributes:
        queries, database: stores, as extracted.
        query_rows, database_rows: their rows that gave pixels.
        asked: ``(Q, D)`` descriptors of `query_rows`, whitened if the run whitens.
        known: descriptors of `database_rows`, likewise.
    """

    queries: DescriptorStore
    database: DescriptorStore
    query_rows: Sequence[int]
    database_rows: Sequence[int]
    asked: Tensor
    known: Tensor | DescriptorStore


def inputs(needs: str, described: Described, dataset: RetrievalDataset, model: RetrievalModule) -> tuple[Any, Any]:
    """Queries and database for a re-ranker.

    Args:
        needs: as in `Reranker.needs`.
        described: of the first stage.
        dataset: without the queries that gave no pixels.
        model: for feature maps.
    """
    if needs == "feature maps":
        return FeatureMaps(model, dataset.queries), FeatureMaps(model, dataset.database)
    if needs == "local features":
        return _features(described.queries, described.query_rows), described.database.local_features
    known = described.known if isinstance(described.known, Tensor) else described.known.tensor()
    if len(known) < len(dataset.database):
        # Rankings count all rows of the database; those without pixels are in none of them.
        whole = known.new_zeros(len(dataset.database), known.shape[1])
        whole[torch.tensor(described.database_rows)] = known
        known = whole
    return described.asked, known


def _features(store: DescriptorStore, rows: Sequence[int]) -> Sequence[LocalFeatures]:
    features = store.local_features
    return features if len(rows) == len(features) else [features[row] for row in rows]
