"""HOW's pooling: smoothed positions, each weighted by the length of its own vector.

Tolias, Jenicek and Chum, "Learning and Aggregating Deep Local Descriptors for Instance-Level Recognition" (HOW), ECCV
2020, sec. 3; gtolias/how ``how_net.py``. It is the global vector with which HOW trains its local descriptors; their
selection and ASMK are no pooling. The published networks read the stage before the last and sum over scales.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.full_precision import outside_autocast
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError


def vector_lengths(feature_map: Tensor, eps: float = 1e-10) -> Tensor:
    """``sqrt(sum over channels of x^2 + eps)``: ``(B, C, H, W)`` -> ``(B, 1, H, W)``, float32 at least."""
    return (at_least_float32(feature_map).square().sum(dim=1, keepdim=True) + eps).sqrt()


def smoothed(feature_map: Tensor, size: int) -> Tensor:
    """The mean of the ``size x size`` window about each position, as far as it lies inside the map.

    Args:
        feature_map: ``(B, C, H, W)``.
        size: odd; 1 changes nothing.

    Returns:
        ``(B, C, H, W)``, float32 at least.
    """
    values = at_least_float32(feature_map)
    if size == 1:
        return values
    return F.avg_pool2d(values, size, stride=1, padding=size // 2, count_include_pad=False)


@register_pooling("how")
class HowPooling(Pooling):
    """Sum of smoothed local descriptors weighted by the L2 norm of the unsmoothed ones (Tolias et al., ECCV 2020).

    ``sum over positions of |x| (W mean of x about it + b)``; without `dim`, W is left out. Float16 may not hold the sum
    over a large map; float32 and bfloat16 do.

    Args:
        smoothing: side of the window, odd; 1 is none.
        dim: D of a linear map at each position; None has none, 128 is the published size.
        learnable: whether that map is trained. The published one is PCA whitening (with shrinkage) of local descriptors
            of 5,000 training images and stays fixed; here it starts at random, so that fixing it only makes sense with
            weights from a file.

    Attributes:
        out_channels: D, or C without `dim`.

    Raises:
        InputError: a window that is not odd, or a size below 1.
    """

    def __init__(self, in_channels: int, smoothing: int = 3, dim: int | None = None, learnable: bool = True):
        super().__init__()
        if smoothing < 1 or smoothing % 2 == 0:
            raise InputError(f"pooling.smoothing, the side of a window, must be odd and at least 1, got {smoothing}")
        if dim is not None and dim < 1:
            raise InputError(f"pooling.dim must be at least 1, got {dim}")
        self.out_channels = dim or in_channels
        self.smoothing = smoothing
        self.dim_reduction = None if dim is None else nn.Conv2d(in_channels, dim, 1).requires_grad_(learnable)

    def local(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C', H, W)``: smoothed and reduced, not normalised; float32 at least."""
        values = smoothed(feature_map, self.smoothing)
        if self.dim_reduction is None:
            return values
        weight, bias = (at_least_float32(parameter) for parameter in self.dim_reduction.parameters())
        return F.conv2d(values, weight, bias)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C')``."""
        with outside_autocast(feature_map):
            pooled = (vector_lengths(feature_map) * self.local(feature_map)).sum(dim=(-2, -1))
        return pooled.to(feature_map.dtype)
