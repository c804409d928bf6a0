"""Layers that compute in float32 at least, whatever the dtype of their input and of their weights.

A head of many layers that ran in float16 or bfloat16 would lose a bit at each of them. What these layers give is
float32, or float64 for such input; the head casts once, at its end. Under autocast, matrix products and convolutions
run in its dtype, as everywhere; norms do not, nor does what stands inside `outside_autocast`.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.precision import at_least_float32


def outside_autocast(values: Tensor) -> AbstractContextManager[None]:
    """A region in which autocast does not touch operations on the device of `values`."""
    device = values.device.type
    # An exported graph need not carry a region that changes nothing.
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def positions(feature_map: Tensor) -> Tensor:
    """``(B, C, H, W)`` -> ``(B, H * W, C)``, row by row, in float32 at least."""
    return at_least_float32(feature_map).flatten(2).mT


def upcast(parameter: Tensor | None) -> Tensor | None:
    """A parameter in float32 at least; None stays."""
    return None if parameter is None else at_least_float32(parameter)


class Linear(nn.Linear):
    """``(..., C)`` -> ``(..., C')``."""

    def forward(self, values: Tensor) -> Tensor:
        """The affine map of the last axis."""
        return F.linear(at_least_float32(values), at_least_float32(self.weight), upcast(self.bias))


class Conv2d(nn.Conv2d):
    """``(B, C, H, W)`` -> ``(B, C', H', W')``, zeros around the map."""

    def forward(self, feature_map: Tensor) -> Tensor:
        """The convolution."""
        return self._conv_forward(at_least_float32(feature_map), at_least_float32(self.weight), upcast(self.bias))


class LayerNorm(nn.LayerNorm):
    """``(..., C)`` -> the same shape."""

    def forward(self, values: Tensor) -> Tensor:
        """Mean 0 and variance 1 over the last axis, then scale and shift."""
        return F.layer_norm(
            at_least_float32(values), self.normalized_shape, upcast(self.weight), upcast(self.bias), self.eps
        )


def batch_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, values: Tensor) -> Tensor:
    """``(B, C, ...)`` normalised by the running statistics of `norm`, in float32 at least."""
    return F.batch_norm(
        at_least_float32(values),
        upcast(norm.running_mean),
        upcast(norm.running_var),
        upcast(norm.weight),
        upcast(norm.bias),
        eps=norm.eps,
    )


class BatchNorm(nn.BatchNorm1d):
    """Normalises the last axis of ``(..., C)`` over all the others.

    Raises:
        ValueError: training on a single vector, torch's own.
    """

    def forward(self, values: Tensor) -> Tensor:
        """The statistics of the batch in training, the running ones elsewhere; then scale and shift."""
        rows = values.flatten(0, -2)
        # The running statistics keep their dtype, and torch wants it for the input too.
        normed = super().forward(rows.to(self.weight.dtype)) if self.training else batch_norm(self, rows)
        return at_least_float32(normed).view(values.shape)


class BatchNorm2d(nn.BatchNorm2d):
    """Normalises the channels of ``(B, C, H, W)`` over images and positions.

    Raises:
        ValueError: training on a single position, torch's own.
    """

    def forward(self, feature_map: Tensor) -> Tensor:
        """The statistics of the batch in training, the running ones elsewhere; then scale and shift."""
        if self.training:
            return at_least_float32(super().forward(feature_map.to(self.weight.dtype)))
        return batch_norm(self, feature_map)
