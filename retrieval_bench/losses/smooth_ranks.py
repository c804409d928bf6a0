"""Ranks of a query's positives that can be differentiated: a sigmoid stands where a comparison would be.

Brown, Xie, Kalogeiton and Zisserman, "Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval", ECCV 2020.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from retrieval_bench.losses.similarities import matches

Query = Literal["left out", "counted"]


@dataclass(frozen=True)
class SmoothRanks:
    """How many images stand before each positive.

    Attributes:
        queries: ``(T,)`` rows of the batch: the query of each pair of a query and a positive.
        members: ``(T,)`` rows of the batch: that positive.
        positives: ``(T,)``, positives of the query before this one.
        negatives: ``(T,)``, negatives before it.
    """

    queries: Tensor
    members: Tensor
    positives: Tensor
    negatives: Tensor


def smooth_ranks(
    descriptors: Tensor,
    labels: Tensor,
    temperature: float,
    query: Query = "left out",
    images: Tensor | None = None,
) -> SmoothRanks:
    """The positives of every image of a batch among all images of it.

    Memory is that of all matching pairs times the batch: ``B (K - 1) B`` numbers for K images of each class.

    Args:
        descriptors: ``(B, D)``, unit norm.
        labels: ``(B,)``.
        temperature: of the sigmoid, in cosines.
        query: whether a query that has a positive is found by itself too, as a further positive.
        images: as in `matches`; other rows of the query's image stand in no list of it.
    """
    similarity = descriptors @ descriptors.T
    positive, negative = matches(labels, images)
    found = positive
    if query == "counted":
        found = positive | torch.diag(positive.any(dim=1))
    queries, members = found.nonzero(as_tuple=True)
    rows = similarity[queries]
    before = torch.sigmoid((rows - rows.gather(1, members[:, None])) / temperature)
    others = found[queries].scatter(1, members[:, None], False)
    # A sum of products: masked copies of (T, B) would double what is kept for the backward pass.
    return SmoothRanks(
        queries,
        members,
        torch.einsum("tb,tb->t", before, others.to(before.dtype)),
        torch.einsum("tb,tb->t", before, negative[queries].to(before.dtype)),
    )
