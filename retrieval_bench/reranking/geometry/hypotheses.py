"""Transforms from minimal samples and from weighted matches, many at a time.

Transforms are matrices for column vectors (x, y, 1): ``(..., 2, 3)`` affine, ``(..., 3, 3)`` with 1 as the last element
for homographies. Points that determine no transform give a matrix with values that are not finite.
"""

import torch
from torch import Tensor


def affine_from_samples(source: Tensor, target: Tensor) -> Tensor:
    """The affine transforms that take three points to three points.

    Args:
        source, target: ``(..., 3, 2)``.

    Returns:
        ``(..., 2, 3)``.
    """
    u, v = source[..., 1, :] - source[..., 0, :], source[..., 2, :] - source[..., 0, :]
    p, q = target[..., 1, :] - target[..., 0, :], target[..., 2, :] - target[..., 0, :]
    area = (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]).unsqueeze(-1)
    x = (p * v[..., 1:] - q * u[..., 1:]) / area
    y = (q * u[..., :1] - p * v[..., :1]) / area
    origin = source[..., 0, :]
    shift = target[..., 0, :] - x * origin[..., :1] - y * origin[..., 1:]
    return torch.stack((x, y, shift), dim=-1)


def fit_affine(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The affine transforms of least squared distance in the target.

    Args:
        source, target: ``(..., M, 2)``.
        weights: ``(..., M)``, not negative.

    Returns:
        ``(..., 2, 3)``.
    """
    p = _homogeneous(source)
    weighted = p.mT * weights.unsqueeze(-2)
    solution, _ = torch.linalg.solve_ex(weighted @ p, weighted @ target)
    return solution.mT


def fit_homography(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The homographies of least algebraic error: normalised DLT (Hartley and Zisserman, algorithm 4.2).

    Args:
        source, target: ``(..., M, 2)``.
        weights: ``(..., M)``, not negative.

    Returns:
        ``(..., 3, 3)``.
    """
    # Loading kornia takes a second that only a homography is worth.
    from kornia.geometry.homography import find_homography_dlt

    shape = weights.shape
    one, other = (points.expand(*shape, 2).reshape(-1, shape[-1], 2) for points in (source, target))
    return find_homography_dlt(one, other, weights.reshape(-1, shape[-1])).reshape(*shape[:-1], 3, 3)


def _homogeneous(points: Tensor) -> Tensor:
    return torch.cat((points, torch.ones_like(points[..., :1])), dim=-1)
