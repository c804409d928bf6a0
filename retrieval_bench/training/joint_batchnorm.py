"""Batch statistics over all processes on CPUs, where torch has none: `torch.nn.SyncBatchNorm` needs a GPU."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


class JointBatchNorm(_BatchNorm):
    """Batch normalisation whose statistics in training are those of the batches of all processes together.

    Equal to plain batch normalisation of the joint batch, gradients included; processes may differ in batch size. A
    module becomes one by `join` and keeps its parameters, buffers and names.
    """

    def forward(self, values: Tensor) -> Tensor:
        """``(B, C, ...)`` -> the same shape."""
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return self._activated(
                F.batch_norm(
                    values,
                    self.running_mean,
                    self.running_var,
                    self.weight,
                    self.bias,
                    self.training,
                    self.momentum or 0.0,
                    self.eps,
                )
            )
        others = [axis for axis in range(values.ndim) if axis != 1]
        shape = [1, -1] + [1] * (values.ndim - 2)
        count = torch.tensor([values.numel() / values.shape[1]], device=values.device)
        dist.all_reduce(count)
        mean = all_reduce(values.float().sum(dim=others)) / count
        centred = values.float() - mean.view(shape)
        variance = all_reduce(centred.square().sum(dim=others)) / count
        self._follow(mean.detach(), variance.detach(), float(count))
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return self._activated(normal.to(values.dtype))

    def _follow(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Move the running statistics."""
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(count - 1, 1), share)

    def _activated(self, values: Tensor) -> Tensor:
        """timm's normalisation layers may carry an activation."""
        for name in ("drop", "act"):
            part = getattr(self, name, None)
            values = values if part is None else part(values)
        return values

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes."""


class JointStatistics(LayerSync):
    """Lightning's switch: the batch normalisation of a model before and after distributed training."""

    def __init__(self) -> None:
        self._before: dict[nn.Module, type[nn.Module]] = {}

    def apply(self, model: Any) -> Any:
        """Let every batch normalisation of `model` join, in place."""
        for module in model.modules():
            if isinstance(module, _BatchNorm) and not isinstance(module, JointBatchNorm):
                self._before[module] = type(module)
                module.__class__ = JointBatchNorm
        return model

    def revert(self, model: Any) -> Any:
        """Give every module its own class back."""
        for module, kind in self._before.items():
            module.__class__ = kind
        self._before = {}
        return model
