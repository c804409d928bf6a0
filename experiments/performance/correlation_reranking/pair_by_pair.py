"""The published order of work for one pair, with a `Matcher`'s weights: the reference of `measure.py`.

Every pair starts from its two feature maps. All nine correlation volumes are resized to the largest, stacked and stored
whole, and every convolution reads planes of a stored volume.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.methods.cvnet.centre_pivot import CentrePivotConv
from retrieval_bench.methods.cvnet.correlation import AREAS, EPS, resized, scaled_size
from retrieval_bench.methods.cvnet.matcher import Matcher


def score(matcher: Matcher, query_map: Tensor, key_map: Tensor) -> Tensor:
    """``(B, C, hq, wq)`` and ``(B, C, hk, wk)`` feature maps -> ``(B,)`` probabilities."""
    volume = correlation(levels(matcher, query_map), levels(matcher, key_map))
    for layer in matcher.layers:
        volume = F.relu(layer.norm(convolved(layer.conv, volume)))
    return matcher.classifier(volume.mean(dim=(2, 3, 4, 5))).softmax(dim=1)[:, 1]


def levels(matcher: Matcher, feature_map: Tensor) -> list[Tensor]:
    """The map at every scale, reduced."""
    height, width = feature_map.shape[-2:]
    sizes = [scaled_size(height, width, area) for area in AREAS]
    return [conv(resized(feature_map, size)) for conv, size in zip(matcher.reduce, sizes, strict=True)]


def correlation(query: list[Tensor], key: list[Tensor]) -> Tensor:
    """``(B, S * S, hq, wq, hk, wk)``, every volume computed at its own size and then resized."""
    volumes = []
    for one in query:
        for other in key:
            products = one.flatten(2).transpose(1, 2) @ other.flatten(2)
            norms = one.flatten(2).norm(dim=1)[:, :, None] * other.flatten(2).norm(dim=1)[:, None]
            volume = (products / (norms + EPS)).unflatten(1, one.shape[-2:]).unflatten(3, other.shape[-2:])
            first = resized(volume.permute(0, 3, 4, 1, 2).flatten(1, 2), query[-1].shape[-2:])
            first = first.unflatten(1, other.shape[-2:]).permute(0, 3, 4, 1, 2)
            second = resized(first.flatten(1, 2), key[-1].shape[-2:])
            volumes.append(second.unflatten(1, query[-1].shape[-2:]))
    return torch.stack(volumes, dim=1).clamp(min=0)


def convolved(conv: CentrePivotConv, volume: Tensor) -> Tensor:
    """A centre-pivot convolution of ``(B, C, hq, wq, hk, wk)``."""
    step = conv.stride
    over_query = volume[..., ::step, ::step].permute(0, 4, 5, 1, 2, 3)
    over_key = volume[:, :, ::step, ::step].permute(0, 2, 3, 1, 4, 5)
    one = conv.query_plane(over_query.flatten(0, 2)).unflatten(0, over_query.shape[:3])
    other = conv.key_plane(over_key.flatten(0, 2)).unflatten(0, over_key.shape[:3])
    return one.permute(0, 3, 4, 5, 1, 2) + other.permute(0, 3, 1, 2, 4, 5)
