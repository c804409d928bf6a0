"""NetVLAD: how far positions lie from the centres that they are softly assigned to.

Arandjelović, Gronat, Torii, Pajdla and Sivic, "NetVLAD: CNN Architecture for Weakly Supervised Place Recognition", CVPR
2016, sec. 3.1, eq. 3 and 4, and appendix A for the start.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.full_precision import outside_autocast
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError


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


@register_pooling("netvlad")
class NetVLAD(Pooling):
    """Soft assignment to clusters, residual sums, intra-normalisation (Arandjelović et al., CVPR 2016).

    ``V_k = sum over positions of softmax_k(w_k . x + b_k) (x - c_k)`` of unit vectors x; each V_k is brought to unit
    length, then all of them together.

    The paper starts the centres from k-means of training descriptors and sets alpha so that the best assignment of a
    position is about 100 times the second; without training images the centres start as random unit vectors.

    Args:
        clusters: K.
        cluster_dim: D of a 1x1 convolution in front, which keeps K * D small; None has none, as in the paper, whose 64
            clusters of 512 channels make 32,768 dimensions.
        alpha: sharpness of the assignment at the start: w_k = 2 alpha c_k, b_k = -alpha |c_k|^2; from then on all three
            are trained apart.

    Attributes:
        out_channels: K * D, cluster by cluster.
        centres: c, ``(K, D)``.

    Raises:
        InputError: fewer than one cluster or dimension, or an alpha that is not positive.
    """

    order_matters: ClassVar[bool | None] = False

    def __init__(self, in_channels: int, clusters: int = 64, cluster_dim: int | None = 128, alpha: float = 50.0):
        super().__init__()
        for option, value in (("clusters", clusters), ("cluster_dim", cluster_dim)):
            if value is not None and value < 1:
                raise InputError(f"pooling.{option} must be at least 1, got {value}")
        if not 0 < alpha < float("inf"):
            raise InputError(f"pooling.alpha must be positive and finite, got {alpha}")
        dim = in_channels if cluster_dim is None else cluster_dim
        self.out_channels = clusters * dim
        self.alpha = alpha
        self.reduce = None if cluster_dim is None else nn.Conv2d(in_channels, cluster_dim, 1)
        self.centres = nn.Parameter(torch.empty(clusters, dim))
        self.assign = nn.Linear(dim, clusters)
        self.start_from(F.normalize(torch.randn(clusters, dim), dim=1))

    @torch.no_grad()
    def start_from(self, centres: Tensor) -> None:
        """Set the centres, ``(K, D)`` such as k-means finds among unit descriptors, and the assignment to match."""
        self.centres.copy_(centres)
        self.assign.weight.copy_(2 * self.alpha * centres)
        self.assign.bias.copy_(-self.alpha * centres.square().sum(dim=1))

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, K * D)``, of unit length unless every position lies on its centre."""
        values = feature_map if self.reduce is None else self.reduce(feature_map)
        with outside_autocast(feature_map):
            local = F.normalize(at_least_float32(values).flatten(2).mT, dim=-1)  # (B, N, D)
            weight, bias, centres = map(at_least_float32, (self.assign.weight, self.assign.bias, self.centres))
            residuals = residual_sums(local, F.linear(local, weight, bias).softmax(dim=-1), centres)
            vector = F.normalize(F.normalize(residuals, dim=-1).flatten(1), dim=-1)
        return vector.to(feature_map.dtype)
