"""Matched local descriptors of an anchor and its positive, kept away from what negatives look like there.

Zhu et al., "Coarse-to-Fine: Learning Compact Discriminative Representation for Single-Stage Image Retrieval", ICCV
2023, second stage. Matches are reciprocal nearest neighbours that pass a ratio test and lie where the positive is
attended; every match makes one triplet with each negative of the tuple.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Matches:
    """Matches of T pairs of images with K positions each, seen from the positive's positions.

    Attributes:
        anchor: ``(T, K)``, the nearest position of the anchor.
        kept: ``(T, K)``, whether the pair is a match.
    """

    anchor: Tensor
    kept: Tensor


@torch.no_grad()
def match(squared: Tensor, attention: Tensor, ratio: float) -> Matches:
    """Which positions of anchor and positive belong together.

    A position of the positive is matched to the nearest one of the anchor if it is the nearest to that one too, if it
    is nearer to it than `ratio` times the distance to the second nearest, and if it is among the K // 2 positions of
    the positive with the most attention.

    Args:
        squared: ``(T, K, K)`` squared distances, rows of the anchor, columns of the positive.
        attention: ``(T, K)`` of the positive.
        ratio: of distances, not of their squares.
    """
    positions = squared.shape[1]
    attended = torch.zeros_like(attention, dtype=torch.bool)
    attended.scatter_(1, attention.topk(positions // 2, dim=1).indices, True)
    anchor = squared.argmin(dim=1)  # (T, K) per position of the positive
    if positions < 2:
        return Matches(anchor, attended)
    back = squared.argmin(dim=2).gather(1, anchor)
    reciprocal = back == torch.arange(positions, device=squared.device)
    nearest, second = squared.topk(2, dim=1, largest=False).values.sqrt().unbind(dim=1)
    # Two positions at distance 0 are no clear match: 0 / 0 passes no comparison.
    return Matches(anchor, reciprocal & (nearest / second <= ratio) & attended)


def matched_triplet_loss(feature_maps: Tensor, tuple_size: int, ratio: float = 0.9, margin: float = 0.1) -> Tensor:
    """``sum max(0, |a - p|^2 - |a - n|^2 + margin)`` over tuples, their matches and their negatives.

    Descriptors are the unit vectors of the maps' positions, n the one of a negative that is nearest to a. Attention is
    the L1 norm at a position. Gradient flows through all three vectors, but not through the choice of positions.

    Args:
        feature_maps: ``(T * tuple_size, C, H, W)``, tuples one after the other: anchor, positive, negatives.
        tuple_size: images of a tuple, at least 3.
        ratio: see `match`.
        margin: in squared distances.

    Returns:
        a scalar in float32 at least; 0, with a gradient of 0, where nothing matches.
    """
    with torch.autocast(feature_maps.device.type, enabled=False):
        exact = feature_maps if feature_maps.dtype == torch.float64 else feature_maps.float()
        tuples = exact.flatten(2).unflatten(0, (-1, tuple_size))  # (T, S, C, K)
        attention = tuples[:, 1].detach().abs().sum(dim=1)  # (T, K)
        units = F.normalize(tuples, dim=2).transpose(2, 3)  # (T, S, K, C)
        anchor, positive, negatives = units[:, 0], units[:, 1], units[:, 2:]
        to_positive = squared_distances(anchor, positive)  # (T, K, K)
        to_negatives = squared_distances(anchor, negatives.flatten(1, 2)).unflatten(2, negatives.shape[1:3])
        nearest_negative = to_negatives.min(dim=3).values  # (T, K, N)
        found = match(to_positive.detach(), attention, ratio)
        own = to_positive.gather(1, found.anchor[:, None])[:, 0, :, None]  # (T, K, 1)
        other = nearest_negative.take_along_dim(found.anchor[:, :, None], dim=1)  # (T, K, N)
        return ((own - other + margin).clamp(min=0) * found.kept[:, :, None]).sum()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """``(T, K, C)`` and ``(T, L, C)`` -> ``(T, K, L)`` squared Euclidean distances, not negative."""
    product = a @ b.transpose(1, 2)
    return (a.square().sum(dim=2)[:, :, None] + b.square().sum(dim=2)[:, None] - 2 * product).clamp(min=0)
