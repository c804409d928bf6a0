"""HOW's pooling: smoothed positions, each weighted by the length of its own vector.

Tolias, Jenicek and Chum, "Learning and Aggregating Deep Local Descriptors for Instance-Level Recognition" (HOW), ECCV
2020, sec. 3; gtolias/how ``how_net.py``. It is the global vector with which HOW trains its local descriptors; their
selection and ASMK are no pooling. The published networks read the stage before the last and sum over scales.
"""

from collections.abc import Iterable
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.full_precision import outside_autocast
from retrieval_bench.pooling.option_checks import check_counts
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError

PER_IMAGE = 1000
"""Local descriptors of one image from which the whitening is learnt, those of the longest vectors."""


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


def strongest(feature_map: Tensor, smoothing: int) -> Tensor:
    """The smoothed descriptors of each image at its `PER_IMAGE` positions of the longest vectors, or at all it has.

    ``(B, C, H, W)`` -> ``(B * N, C)``, float32 at least.
    """
    around, lengths = smoothed(feature_map, smoothing).flatten(2).mT, vector_lengths(feature_map).flatten(1)
    rows = lengths.topk(min(PER_IMAGE, lengths.shape[1]), dim=1).indices
    return around.gather(1, rows[..., None].expand(-1, -1, around.shape[2])).flatten(0, 1)


def pca_whitening(parts: Iterable[Tensor], dim: int) -> tuple[Tensor, Tensor]:
    """The linear map that gives descriptors zero mean and unit variance along their directions of largest variance.

    The authors' function is named after the shrinkage of the paper, whose exponent they leave at 1, full whitening.

    Args:
        parts: descriptors, ``(N, C)`` each, at least one; to be read once.
        dim: D.

    Returns:
        weight ``(D, C)`` and bias ``(D,)``, float64. Rows are zero for directions without variance, and from C on.
    """
    exact = (_double(part) for part in parts)
    first = next(exact)
    # Squares of what lies far from zero would lose the digits that the variance is in.
    shift = first.mean(dim=0)
    count, total, products = 0, torch.zeros_like(shift), torch.zeros_like(shift.outer(shift))
    for part in chain([first], exact):
        values = part - shift
        count += len(values)
        total += values.sum(dim=0)
        products += values.T @ values
    mean = total / count
    variances, directions = torch.linalg.eigh(products / count - mean.outer(mean))
    variances, directions = variances.flip(0)[:dim], directions.flip(1)[:, :dim]
    spanned = variances > max(variances[0].item(), 1e-30) * 1e-12
    weight = torch.where(spanned, directions / variances.clamp(min=1e-42).sqrt(), 0.0).T
    weight = F.pad(weight, (0, 0, 0, dim - len(weight)))
    return weight, -weight @ (mean + shift)


def _double(values: Tensor) -> Tensor:
    # Apple's devices have no float64.
    return (values.cpu() if values.device.type == "mps" else values).double()


@register_pooling("how")
class HowPooling(Pooling):
    """Sum of smoothed local descriptors weighted by the L2 norm of the unsmoothed ones (Tolias et al., ECCV 2020).

    ``sum over positions of |x| (W mean of x about it + b)``; without `dim`, W is left out. Float16 may not hold the sum
    over a large map; float32 and bfloat16 do.

    Args:
        smoothing: side of the window, odd; 1 is none.
        dim: D of a linear map at each position; None has none, 128 is the published size. A training starts it, as
            published, as PCA whitening of the local descriptors of 5,000 training images, 1,000 of each; without a
            training it is random.
        learnable: whether that map is trained; the published one stays as it started.

    Attributes:
        out_channels: D, or C without `dim`.

    Raises:
        InputError: a window that is not odd, or a size below 1.
    """

    def __init__(self, in_channels: int, smoothing: int = 3, dim: int | None = None, learnable: bool = False):
        super().__init__()
        if smoothing < 1 or smoothing % 2 == 0:
            raise InputError(f"pooling.smoothing, the side of a window, must be odd and at least 1, got {smoothing}")
        check_counts(dim=1 if dim is None else dim)
        self.out_channels = dim or in_channels
        self.smoothing = smoothing
        self.start_images = 0 if dim is None else 5000
        self.dim_reduction = None if dim is None else nn.Conv2d(in_channels, dim, 1).requires_grad_(learnable)

    def start_from(self, inputs: Iterable[tuple[Tensor, ...]], generator: torch.Generator) -> None:
        """PCA whitening of the strongest local descriptors of each image."""
        if self.dim_reduction is not None:
            parts = (strongest(feature_map, self.smoothing) for (feature_map,) in inputs)
            weight, bias = pca_whitening(parts, self.out_channels)
            for parameter, value in zip(self.dim_reduction.parameters(), (weight, bias), strict=True):
                parameter.copy_(value.view_as(parameter))

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
