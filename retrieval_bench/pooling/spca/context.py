"""SpCa's spatial-context branch: which learned tokens surround each position of a map, and how far away they are.

Zhang, Wang, Zhou and Koniusz, ICCV 2023; ``Spca_layer`` of Zy-Zhang/SpCa. That layer also moves its tokens towards the
statistics of the batch, but neither returns nor stores the result; no output depends on the update, so it is left out.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.full_precision import outside_autocast
from retrieval_bench.pooling.precision import at_least_float32

LEAST = 1e-6
"""Floor of a token's prior and variance. The published code has none: both are free parameters under weight decay, and
its logarithm is NaN once one is not positive."""

ASSIGNMENT_EPS = 1e-8
"""Added to assignments before they are normalised over positions."""

CACHED_GRIDS = 4
LARGEST_CACHED = 4096
"""Positions of the largest grid that is kept: 64 MiB of float32."""


@dataclass(frozen=True)
class ContextMaps:
    """What the branch returns.

    Attributes:
        context: ``(B, K * M, H, W)``, float32 at least: the K tokens' weights for the nearest surroundings first, then
            for ever wider ones.
        assignment: ``(B, K, H, W)``, float32 at least; sums to 1 over tokens.
    """

    context: Tensor
    assignment: Tensor


def soft_assignment(local: Tensor, tokens: Tensor, prior: Tensor, variance: Tensor) -> Tensor:
    """Posterior of K isotropic Gaussians, ``prior_k / sqrt(variance_k) * exp(-|z - t_k|^2 / (2 variance_k))``.

    Args:
        local: ``(B, N, D)``.
        tokens: ``(K, D)``.
        prior, variance: ``(K,)``; values below 1e-6 count as 1e-6.

    Returns:
        ``(B, N, K)``, sums to 1 over tokens.
    """
    prior, variance = prior.clamp(min=LEAST), variance.clamp(min=LEAST)
    # One token at a time, since all differences at once are D times as large as the result. The expanded square is as
    # small, but it cancels, the more so where matrix products have reduced precision.
    squared = torch.stack([(local - token).square().sum(dim=-1) for token in tokens], dim=-1)
    return (prior.log() - 0.5 * variance.log() - squared / (2 * variance)).softmax(dim=-1)


def proximity(height: int, width: int, device: torch.device) -> Tensor:
    """``exp(-distance)`` between the positions of a grid, in steps of the grid; every column is scaled to sum 1.

    Returns:
        ``(N, N)`` float32 for N = height * width. The grids used last are kept; do not change the tensor in place.
    """
    # What a tracer sees has no values, and must not be kept for those who need some.
    if torch.compiler.is_compiling():
        return _computed(height, width, device)
    return (_cached if height * width <= LARGEST_CACHED else _proximity)(height, width, device)


def _computed(height: int, width: int, device: torch.device) -> Tensor:
    rows, columns = (torch.arange(side, device=device, dtype=torch.float32) for side in (height, width))
    down, across = ((axis[:, None] - axis).square() for axis in (rows, columns))
    nearness = (down[:, None, :, None] + across[None, :, None, :]).reshape(height * width, -1).sqrt_().neg_().exp_()
    return nearness.div_(nearness.sum(dim=0))


def _proximity(height: int, width: int, device: torch.device) -> Tensor:
    # A tensor made in inference mode could never take part in training, to which the kept ones are handed as well.
    with torch.inference_mode(False), torch.no_grad():
        return _computed(height, width, device)


_cached = lru_cache(CACHED_GRIDS)(_proximity)


def surroundings(weights: Tensor, nearness: Tensor, powers: int, first_power: int) -> Tensor:
    """``weights @ A^p`` for `powers` consecutive p, side by side.

    The powers of A are never formed: multiplying the K rows again is N / K times cheaper.

    Args:
        weights: ``(B, K, N)``.
        nearness: A, ``(N, N)``.
        powers: M, how many.
        first_power: the smallest p.

    Returns:
        ``(B, M * K, N)``.
    """
    rows = weights.flatten(0, 1)  # a product per image would repeat A
    for _ in range(first_power - 1):
        rows = rows @ nearness
    blocks = []
    for _ in range(powers):
        rows = rows @ nearness
        blocks.append(rows.unflatten(0, weights.shape[:2]))
    return torch.cat(blocks, dim=1)


def normalised(values: Tensor, norm: nn.LayerNorm) -> Tensor:
    """`norm` of ``(..., C)`` values in their own precision, whatever that of its weights."""
    weight, bias = (parameter.to(values.dtype) for parameter in (norm.weight, norm.bias))
    return F.layer_norm(values, norm.normalized_shape, weight, bias, norm.eps)


class SpatialContext(nn.Module):
    """The branch.

    Args:
        in_channels: C of the map.
        codebook_size: K, how many tokens.
        local_dim: D in which positions are compared with tokens.
        powers: M, over how many ranges the surroundings are described.
        first_power: of the proximity matrix: 2 as the published function that runs, 1 as the older one beside it.

    Attributes:
        out_channels: K * M.
        clusters: ``(1, K, D)``, the tokens before their normalisation.
        prior, variance: ``(1, K)``; two dimensions put them under weight decay, as in the published training.
    """

    def __init__(self, in_channels: int, codebook_size: int, local_dim: int, powers: int, first_power: Literal[1, 2]):
        super().__init__()
        self.powers = powers
        self.first_power = first_power
        self.out_channels = codebook_size * powers
        self.clusters = nn.Parameter(torch.empty(1, codebook_size, local_dim))
        nn.init.xavier_uniform_(self.clusters)
        self.prior = nn.Parameter(torch.full((1, codebook_size), 1 / codebook_size))
        self.variance = nn.Parameter(torch.ones(1, codebook_size))
        self.project = nn.Conv2d(in_channels, local_dim, 1, bias=False)
        self.token_norm = nn.LayerNorm(local_dim)
        self.norm = nn.LayerNorm(self.out_channels)

    def forward(self, feature_map: Tensor) -> ContextMaps:
        """``(B, C, H, W)`` -> context and assignment; computed in float32 at least."""
        height, width = feature_map.shape[-2:]
        with outside_autocast(feature_map):
            projection = at_least_float32(self.project.weight)
            local = F.conv2d(at_least_float32(feature_map), projection).flatten(2).mT  # (B, N, D)
            clusters, prior, variance = (
                at_least_float32(parameter[0]) for parameter in (self.clusters, self.prior, self.variance)
            )
            assignment = soft_assignment(local, normalised(clusters, self.token_norm), prior, variance)
            raised = assignment + ASSIGNMENT_EPS
            weights = (raised / raised.sum(dim=1, keepdim=True)).mT  # (B, K, N), each row sums to 1
            nearness = proximity(height, width, feature_map.device).to(weights.dtype)
            context = surroundings(weights, nearness, self.powers, self.first_power)
            context = normalised(context.mT, self.norm).mT.unflatten(2, (height, width))
            return ContextMaps(context, assignment.mT.unflatten(2, (height, width)))
