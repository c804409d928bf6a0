"""The part of a local feature map that a global vector does not already say.

Yang et al., "DOLG: Single-Stage Image Retrieval with Deep Orthogonal Fusion of Local and Global Features", ICCV 2021,
sec. 3.3, eq. 2-4.
"""

import torch
from torch import Tensor

from retrieval_bench.pooling.full_precision import outside_autocast
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError


def orthogonal_component(feature_map: Tensor, vector: Tensor) -> Tensor:
    """``f - (f . v / |v|^2) v`` at every position.

    Args:
        feature_map: ``(B, C, H, W)``.
        vector: ``(B, C)``, of any length; where it is zero, nothing is projected away.

    Returns:
        ``(B, C, H, W)`` in the dtype of `feature_map`; computed in float32 at least.

    Raises:
        InputError: shapes that do not belong together.
    """
    if feature_map.ndim != 4 or vector.shape != feature_map.shape[:2]:
        shapes = f"{tuple(feature_map.shape)} and {tuple(vector.shape)}"
        raise InputError(f"orthogonal_component takes a map (B, C, H, W) and a vector (B, C), got {shapes}")
    with outside_autocast(feature_map):
        local, whole = at_least_float32(feature_map), at_least_float32(vector)
        # The projection does not depend on the vector's length, so that it can be brought into range beforehand:
        # the published |v|^2 has no eps, and must neither overflow nor divide by zero. For the same reason the gradient
        # is right although the peak is held constant.
        peak = whole.detach().abs().amax(dim=1, keepdim=True)
        direction = whole / torch.where(peak > 0, peak, 1.0)
        squared = direction.square().sum(dim=1)  # (B,), at least 1 unless the vector is zero
        along = torch.einsum("bchw,bc->bhw", local, direction) / squared.clamp(min=1.0)[:, None, None]
        projected = along[:, None] * direction[:, :, None, None]
        return (local - projected).to(feature_map.dtype)
