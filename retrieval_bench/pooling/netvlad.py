"""NetVLAD: how far positions lie from the centres that they are softly assigned to.

Arandjelović, Gronat, Torii, Pajdla and Sivic, "NetVLAD: CNN Architecture for Weakly Supervised Place Recognition", CVPR
2016, sec. 3.1, eq. 3 and 4, and appendix A for the start; of that, the number of descriptors and of k-means iterations
from the authors' code, ``getClusters.m`` and ``addLayers.m`` (its "vladv2" is the layer of the paper).
"""

import math
from collections.abc import Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.full_precision import outside_autocast
from retrieval_bench.pooling.kmeans import CHUNK, k_means, squared_distances
from retrieval_bench.pooling.option_checks import check_counts, check_positive
from retrieval_bench.pooling.precision import at_least_float32

PER_IMAGE = 100
"""Descriptors of one image from which the centres start."""

RATIO = 100.0
"""Of the largest assignment of a descriptor to its second largest, at the start."""

WITHOUT_DATA = 50.0
"""alpha where there is nothing to compute it from."""

SMALLEST_GAP = 1e-3
"""Of squared distances to the two nearest centres, on average; descriptors that hardly differ would need any alpha."""


def residual_sums(local: Tensor, assignment: Tensor, centres: Tensor) -> Tensor:
    """``V_k = sum over positions of a_k(x) (x - c_k)``, without forming the differences.

    Args:
        local: x, ``(B, N, D)``.
        assignment: a, ``(B, N, K)``.
        centres: c, ``(K, D)``.

    Returns:
        ``(B, K, D)``.
    """
    return assignment.mT @ local - assignment.sum(dim=1)[..., None] * centres


def unit_descriptors(values: Tensor) -> Tensor:
    """``(B, D, H, W)`` -> ``(B, N, D)`` of unit length, float32 at least."""
    return F.normalize(at_least_float32(values).flatten(2).mT, dim=-1)


def start_alpha(local: Tensor, centres: Tensor) -> float:
    """The alpha with which the nearest centre of a descriptor has `RATIO` times the assignment of the second.

    That ratio is ``exp(alpha (d_2 - d_1))``, d the squared distances; its geometric mean over descriptors is meant.

    Args:
        local: ``(N, D)``.
        centres: ``(K, D)``.
    """
    if len(centres) < 2:
        return WITHOUT_DATA
    nearest = [squared_distances(chunk, centres).topk(2, largest=False).values for chunk in local.split(CHUNK)]
    gap = torch.cat(nearest).diff(dim=1).mean().item()
    return math.log(RATIO) / max(gap, SMALLEST_GAP)


@register_pooling("netvlad")
class NetVLAD(Pooling):
    """Soft assignment to clusters, residual sums, intra-normalisation (Arandjelović et al., CVPR 2016).

    ``V_k = sum over positions of softmax_k(w_k . x + b_k) (x - c_k)`` of unit vectors x; each V_k is brought to unit
    length, then all of them together.

    A training starts, as in the paper, from the centres that k-means finds among descriptors of 500 training images,
    100 of each, and from the alpha with which the best assignment of a descriptor is 100 times the second on average.
    Where fewer descriptors than clusters differ, and without a training, centres are random unit vectors.

    Args:
        clusters: K.
        cluster_dim: D of a 1x1 convolution in front, which keeps K * D small; None has none, as in the paper, whose 64
            clusters of 512 channels make 32,768 dimensions.
        alpha: sharpness of the assignment at the start: w_k = 2 alpha c_k, b_k = -alpha |c_k|^2; from then on all three
            are trained apart. None computes it from the training descriptors; without these it is 50.

    Attributes:
        out_channels: K * D, cluster by cluster.
        centres: c, ``(K, D)``.

    Raises:
        InputError: fewer than one cluster or dimension, or an alpha that is not positive.
    """

    order_matters: ClassVar[bool | None] = False
    start_images = 500

    def __init__(self, in_channels: int, clusters: int = 64, cluster_dim: int | None = 128, alpha: float | None = None):
        super().__init__()
        check_counts(clusters=clusters, cluster_dim=1 if cluster_dim is None else cluster_dim)
        check_positive(alpha=1.0 if alpha is None else alpha)
        dim = in_channels if cluster_dim is None else cluster_dim
        self.out_channels = clusters * dim
        self.alpha = alpha
        self.reduce = None if cluster_dim is None else nn.Conv2d(in_channels, cluster_dim, 1)
        self.centres = nn.Parameter(torch.empty(clusters, dim))
        self.assign = nn.Linear(dim, clusters)
        self.set_centres(F.normalize(torch.randn(clusters, dim), dim=1), alpha or WITHOUT_DATA)

    @torch.no_grad()
    def set_centres(self, centres: Tensor, alpha: float) -> None:
        """Set the centres, ``(K, D)`` such as k-means finds among unit descriptors, and the assignment to match."""
        self.centres.copy_(centres)
        self.assign.weight.copy_(2 * alpha * centres)
        self.assign.bias.copy_(-alpha * centres.square().sum(dim=1))

    def start_from(self, inputs: Iterable[tuple[Tensor, ...]], generator: torch.Generator) -> None:
        """k-means of the descriptors that `forward` would assign."""
        drawn = []
        for (feature_map,) in inputs:
            values = feature_map if self.reduce is None else self.reduce(feature_map)
            for image in unit_descriptors(values):
                rows = torch.randperm(len(image), generator=generator)[:PER_IMAGE]
                drawn.append(image[rows.to(image.device)])
        local = torch.cat(drawn)
        found = k_means(local, len(self.centres), generator)
        alpha = start_alpha(local, found) if self.alpha is None else self.alpha
        self.set_centres(torch.cat([found, at_least_float32(self.centres)[len(found) :]]), alpha)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, K * D)``, of unit length unless every position lies on its centre."""
        values = feature_map if self.reduce is None else self.reduce(feature_map)
        with outside_autocast(feature_map):
            local = unit_descriptors(values)
            weight, bias, centres = map(at_least_float32, (self.assign.weight, self.assign.bias, self.centres))
            residuals = residual_sums(local, F.linear(local, weight, bias).softmax(dim=-1), centres)
            vector = F.normalize(F.normalize(residuals, dim=-1).flatten(1), dim=-1)
        return vector.to(feature_map.dtype)
