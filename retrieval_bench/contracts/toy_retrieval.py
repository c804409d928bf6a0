"""A small retrieval problem, described in each of the ways that re-rankers look at."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.registry import create_model
from retrieval_bench.values.local_features import LocalFeatures
from retrieval_bench.values.ranking import Ranking

QUERIES, ROWS = 3, 12
DIM = 32
METHODS_WITH = {"descriptors": "gem", "local features": "delg", "feature maps": "cvnet"}


class Problem(NamedTuple):
    """Query q shows what database row q shows.

    Attributes:
        ranking: ``(3, 12)``, all rows by similarity.
        query: 3 entries.
        database: 12 entries.
    """

    ranking: Ranking
    query: Any
    database: Any


def model_for(needs: str) -> RetrievalModule:
    """A tiny method that gives what a re-ranker needs."""
    torch.manual_seed(0)
    return create_model(METHODS_WITH[needs], backbone="test_resnet", dim=16)


def problem(needs: str, model: RetrievalModule | None) -> Problem:
    """The problem, with entries of the kind that `needs` names; `model` makes feature maps."""
    generator = torch.Generator().manual_seed(0)
    known = F.normalize(torch.randn(ROWS, DIM, generator=generator), dim=1)
    asked = F.normalize(known[:QUERIES] + 0.1 * torch.randn(QUERIES, DIM, generator=generator), dim=1)
    ranking = ranked(asked @ known.T)
    if needs == "descriptors":
        return Problem(ranking, asked, known)
    if needs == "local features":
        images = [local_features(generator) for _ in range(ROWS)]
        return Problem(ranking, [moved(image) for image in images[:QUERIES]], images)
    maps = [made(model, torch.rand(1, 3, 64, 64, generator=generator)) for _ in range(ROWS)]
    return Problem(ranking, [one + 0.01 for one in maps[:QUERIES]], maps)


def ranked(scores: Tensor) -> Ranking:
    """``(Q, N)`` scores -> all rows, best first."""
    found = scores.sort(dim=1, descending=True, stable=True)
    return Ranking(found.indices, found.values)


def shuffled(ranking: Ranking) -> Ranking:
    """The rows of each query in an order that means nothing, under the same scores."""
    generator = torch.Generator().manual_seed(1)
    order = torch.stack([torch.randperm(ranking.k, generator=generator) for _ in range(len(ranking))])
    return Ranking(ranking.indices.gather(1, order), ranking.scores)


def local_features(generator: torch.Generator) -> LocalFeatures:
    """40 features of an image of 200 x 200."""
    return LocalFeatures(
        200 * torch.rand(40, 2, generator=generator),
        F.normalize(torch.randn(40, 16, generator=generator), dim=1),
        torch.rand(40, generator=generator).sort(descending=True).values,
        torch.ones(40),
    )


def moved(features: LocalFeatures) -> LocalFeatures:
    """The same features in an image that was turned, scaled and shifted."""
    turn = torch.tensor([[0.9, -0.2], [0.2, 0.9]])
    points = features.keypoints @ turn.T + 5
    return LocalFeatures(points, features.descriptors, features.scores, features.scales)


def made(model: RetrievalModule | None, image: Tensor) -> Tensor:
    """The feature map ``(C, h, w)`` of one image; a random one where there is no network."""
    if model is None or not model.has_feature_maps:
        return image[0, :, ::8, ::8].repeat(4, 1, 1)
    with torch.inference_mode():
        found: Tensor = model.feature_maps(image)[0]  # type: ignore[operator]
    return found.clone()


def tensors(entry: Any) -> Sequence[Tensor]:
    """The tensors of an entry."""
    if isinstance(entry, LocalFeatures):
        return entry.keypoints, entry.descriptors, entry.scores, entry.scales
    return (entry,)
