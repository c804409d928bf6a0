"""Which locations of DELG's dense maps become local features, and where they lie.

Source: feymanpriv/DELG ``tools/extractor.py``, ``tools/delg_utils.py``; tensorflow/models ``export_model_utils.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import nms

from retrieval_bench.pooling.attentive import LocalMaps
from retrieval_bench.values.local_features import LocalFeatures

RECEPTIVE_FIELD = 291.0
"""Pixels that one location of a ResNet's stage 3 sees; the box of a feature, for suppression only."""

SMALLEST_THRESHOLD = 0.1


@dataclass(frozen=True)
class Selection:
    """How many features are kept, and by what rule.

    Attributes:
        rule: ``"top"`` takes the best scores whatever they are; ``"fixed"`` those of at least `threshold`, a value that
            belongs to one set of weights; ``"halving"`` those above `threshold`, halved per scale until `maximum`
            locations of that scale pass or it would fall below 0.1.
        threshold: attention score.
        maximum: features per image.
        overlap: intersection over union of receptive fields above which the weaker feature is dropped; 1 is off.
    """

    rule: Literal["top", "fixed", "halving"]
    threshold: float
    maximum: int
    overlap: float

    def passing(self, scores: Tensor) -> Tensor:
        """``(P,)`` scores of one scale -> rows that pass."""
        if self.rule == "top":
            return torch.arange(len(scores), device=scores.device)
        if self.rule == "fixed":
            return (scores >= self.threshold).nonzero()[:, 0]
        threshold = self.threshold
        rows = (scores > threshold).nonzero()[:, 0]
        while len(rows) < self.maximum and threshold / 2 >= SMALLEST_THRESHOLD:
            threshold /= 2
            rows = (scores > threshold).nonzero()[:, 0]
        return rows


def grid_keypoints(height: int, width: int, stride: float, scale: float) -> Tensor:
    """``(H * W, 2)`` x, y in input pixels of the centres of a map's locations: stride * (column, row) / scale."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2).float() * stride / scale


def select(
    maps: Sequence[LocalMaps], scales: Sequence[float], image: int, stride: float, rule: Selection
) -> LocalFeatures:
    """The local features of one image of a batch.

    Args:
        maps: dense features per scale.
        scales: of the images that the maps came from.
        image: row of the batch.
        stride: of the maps, in pixels of the scaled image.
        rule: what is kept.
    """
    keypoints, descriptors, scores, found_at = [], [], [], []
    for level, scale in zip(maps, scales, strict=True):
        height, width = level.scores.shape[-2:]
        flat = level.scores[image].flatten().float()
        rows = rule.passing(flat)
        keypoints.append(grid_keypoints(height, width, stride, scale).to(flat.device)[rows])
        descriptors.append(level.descriptors[image].flatten(1).T.float()[rows])
        scores.append(flat[rows])
        found_at.append(torch.full_like(flat[rows], scale))
    points, ranked, sizes = torch.cat(keypoints), torch.cat(scores), torch.cat(found_at)
    best = torch.argsort(ranked, descending=True, stable=True)[: rule.maximum]
    if rule.overlap < 1:
        half = (RECEPTIVE_FIELD - 1) / 2 / sizes[best, None]
        boxes = torch.cat([points[best] - half, points[best] + half], dim=1)
        best = best[nms(boxes, ranked[best], rule.overlap)]
    return LocalFeatures(points[best].cpu(), torch.cat(descriptors)[best].cpu(), ranked[best].cpu(), sizes[best].cpu())
