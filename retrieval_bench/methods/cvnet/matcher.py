"""CVNet-Rerank: two feature maps -> the probability that their images show the same landmark.

Lee et al., "Correlation Verification for Image Retrieval", CVPR 2022, sec. 3.2; sungonce/CVNet
``model/CVNet_Rerank_model.py``, ``model/base/*.py``, ``model/CVlearner.py``.
"""

import re
from typing import TypeAlias

import torch
from torch import Tensor, nn

from retrieval_bench.methods.cvnet.centre_pivot import CentrePivotConv, CentrePivotLayer, CorrelationConv
from retrieval_bench.methods.cvnet.correlation import AREAS, aligned_levels, resized, scaled_size
from retrieval_bench.settings.errors import InputError

Pyramid: TypeAlias = Tensor
"""``(B, S, D, h, w)``: features of B images at S scales, resized to one another; ``pyramid[3:4]`` is that of image 3.

All that depends on one image alone is in it, so that it is computed once, however many pairs the image is part of.
"""

BLOCKS = (
    ((16, 5, 2),),
    ((16, 3, 1), (32, 3, 2)),
    ((32, 3, 1), (32, 3, 1), (64, 3, 2)),
    ((64, 3, 1), (64, 3, 1), (128, 3, 1)),
)
"""Channels, kernel and stride of the 4D convolutions."""

HIDDEN = 128
"""Of the classifier behind them."""

POSITION_PAIRS = {"cpu": 2**21}
"""Pairs of positions that are compared at once in `Matcher.score`, on a processor as many as its cache holds."""

POSITION_PAIRS_ELSEWHERE = 2**26


class Matcher(nn.Module):
    """The re-ranking network, on feature maps before the last ReLU of their stage.

    A score is not symmetric: query and key planes have kernels of their own. The modules have no running statistics, so
    a pair scores the same in training and evaluation, alone and among others (up to rounding).

    Args:
        in_channels: C of the feature maps.
        dim: D of the features that are correlated.
    """

    def __init__(self, in_channels: int, dim: int = 256):
        super().__init__()
        self.in_channels = in_channels
        self.reduce = nn.ModuleList(nn.Conv2d(in_channels, dim, 3, padding=1, bias=False) for _ in AREAS)
        (first, *others), channels = [layer for block in BLOCKS for layer in block], BLOCKS[0][0][0]
        self.layers = nn.ModuleList([CentrePivotLayer(CorrelationConv(len(AREAS), *first))])
        for out_channels, kernel, stride in others:
            self.layers.append(CentrePivotLayer(CentrePivotConv(channels, out_channels, kernel, stride)))
            channels = out_channels
        self.classifier = nn.Sequential(nn.Linear(channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2))

    def pyramid(self, feature_map: Tensor) -> Pyramid:
        """``(B, C, h, w)``, any h and w -> ``(B, S, D, h, w)``.

        Raises:
            InputError: another shape.
        """
        if feature_map.ndim != 4 or feature_map.shape[1] != self.in_channels or 0 in feature_map.shape[2:]:
            raise InputError(
                f"the matcher takes feature maps (B, {self.in_channels}, h, w) from the stage before the last, got "
                f"shape {tuple(feature_map.shape)}"
            )
        height, width = feature_map.shape[-2:]
        sizes = [scaled_size(height, width, area) for area in AREAS]
        return aligned_levels([conv(resized(feature_map, size)) for conv, size in zip(self.reduce, sizes, strict=True)])

    def logits(self, query: Pyramid, key: Pyramid) -> Tensor:
        """Compare images pair by pair.

        Args:
            query, key: of as many images, or of one that is compared with all of the other side; sizes may differ.

        Returns:
            ``(B, 2)`` float32 at least: different landmarks, the same landmark.

        Raises:
            InputError: sides of different length, or no pyramids.
        """
        check_pairs(query, key)
        first, *others = self.layers
        volume = first(query, key)
        for layer in others:
            volume = layer(volume)
        logits: Tensor = self.classifier(volume.mean(dim=(1, 2, 3, 4)))
        return logits if logits.dtype == torch.float64 else logits.float()

    def score(self, query: Pyramid, key: Pyramid) -> Tensor:
        """As `logits` -> ``(B,)`` probabilities that the two show the same landmark; memory does not grow with B."""
        check_pairs(query, key)
        pairs = query.shape[-1] * query.shape[-2] * key.shape[-1] * key.shape[-2]
        some = max(1, POSITION_PAIRS.get(query.device.type, POSITION_PAIRS_ELSEWHERE) // pairs)
        parts = [
            self.logits(*(side if len(side) == 1 else side[start : start + some] for side in (query, key)))
            for start in range(0, max(len(query), len(key)), some)
        ]
        return torch.cat(parts).softmax(dim=1)[:, 1]


def check_pairs(query: Pyramid, key: Pyramid) -> None:
    """Raise an `InputError` where two sides are no pyramids, or cannot be compared pair by pair."""
    for side in (query, key):
        if side.ndim != 5 or side.shape[1] != len(AREAS) or 0 in side.shape or side.shape[2] != query.shape[2]:
            raise InputError(
                f"the matcher compares pyramids (B, {len(AREAS)}, D, h, w), got shape {tuple(side.shape)}; make them "
                "with matcher.pyramid(feature_maps)"
            )
    if len(query) != len(key) and 1 not in (len(query), len(key)):
        raise InputError(f"the matcher compares pair by pair, got {len(query)} queries and {len(key)} keys")


_CONV = re.compile(r"cv_learner\.block([1-4])\.(\d+)\.(?:(conv[12])\.)?(weight|bias)")
_PLANES = {"conv1": "conv.query_plane", "conv2": "conv.key_plane", None: "norm"}


def matcher_key(published: str) -> str | None:
    """Our name, below the `Matcher`, of a tensor of sungonce/CVNet; None for one that is no part of it.

    ``conv2ds.0.weight`` is ``reduce.0.weight``, ``cv_learner.block2.3.conv1.bias`` ``layers.2.conv.query_plane.bias``.
    """
    if published.startswith("conv2ds."):
        return f"reduce.{published.removeprefix('conv2ds.')}"
    if published.startswith("cv_learner.mlp."):
        return f"classifier.{published.removeprefix('cv_learner.mlp.')}"
    match = _CONV.fullmatch(published)
    if match is None:
        return None
    block, place, plane, kind = match.groups()
    # Convolution, normalisation and activation take a place each.
    layer = sum(len(earlier) for earlier in BLOCKS[: int(block) - 1]) + int(place) // 3
    return f"layers.{layer}.{_PLANES[plane]}.{kind}"
