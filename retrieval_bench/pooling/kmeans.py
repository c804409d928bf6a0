"""k-means of descriptors, for poolings whose clusters start from data.

Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 1982; seeds as in Arthur and
Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 8192
"""Points whose distances to all centres are in memory together."""

ROUNDING = 1e-12
"""Squared distance of what is the same point, over the largest squared length."""


def squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    """``(N, D)`` and ``(K, D)`` -> ``(N, K)``, not negative."""
    products = points @ centres.T
    return (points.square().sum(dim=1)[:, None] + centres.square().sum(dim=1) - 2 * products).clamp(min=0)


def seeds(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Points far from each other, each drawn with the square of its distance to those before as its weight.

    Args:
        points: ``(N, D)``, N at least 1.
        count: K.
        generator: on the CPU.

    Returns:
        ``(K', D)``, K' at most K: no two of them are equal but for rounding.
    """
    rounding = ROUNDING * points.square().sum(dim=1).max()
    chosen = [points[int(torch.randint(len(points), (1,), generator=generator))]]
    nearest = torch.full((len(points),), float("inf"), device=points.device)
    while len(chosen) < count:
        nearest = nearest.minimum((points - chosen[-1]).square().sum(dim=1))
        nearest = nearest.where(nearest > rounding, 0.0)
        if not nearest.any():
            break
        chosen.append(points[int(torch.multinomial(nearest.cpu().double(), 1, generator=generator))])
    return torch.stack(chosen)


def k_means(points: Tensor, count: int, generator: torch.Generator, iterations: int = 100) -> Tensor:
    """Centres of clusters, by Lloyd's iterations until no point changes its cluster.

    Args:
        points: ``(N, D)`` floats, N at least 1.
        count: K.
        generator: on the CPU, of the seeds.
        iterations: at most.

    Returns:
        ``(K', D)``: fewer than K where fewer of the points differ. A cluster that lost all its points keeps its centre.
    """
    centres = seeds(points, count, generator)
    before = None
    for _ in range(iterations):
        nearest = torch.cat([squared_distances(chunk, centres).argmin(dim=1) for chunk in points.split(CHUNK)])
        if before is not None and torch.equal(nearest, before):
            break
        before = nearest
        sums, counts = torch.zeros_like(centres), centres.new_zeros(len(centres), 1)
        for chunk, rows in zip(points.split(CHUNK), nearest.split(CHUNK), strict=True):
            # A product sums in one order, which scattered additions on a GPU do not.
            members = F.one_hot(rows, len(centres)).to(points.dtype)
            sums += members.T @ chunk
            counts += members.sum(dim=0)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres
