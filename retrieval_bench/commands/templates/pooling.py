"""part_name: a generalised mean in which strong positions count more.

Source: own work; or authors, "title", venue and year, section or equation.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from retrieval_bench.pooling import Pooling, register_pooling
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError, nearest


def weighted_generalised_mean(feature_map: Tensor, p: Tensor | float, weights: Tensor, eps: float = 1e-6) -> Tensor:
    """``(sum over positions of w * max(x, eps)^p)^(1/p)``.

    Args:
        feature_map: ``(B, C, H, W)``.
        p: positive exponent.
        weights: ``(B, 1, H, W)``, not negative, with sum 1 over the positions of an image.
        eps: the least value of a position.

    Returns:
        ``(B, C)`` in the dtype of `feature_map`; the powers are taken in float32 at least.
    """
    values = at_least_float32(feature_map).clamp(min=eps)
    # Powers of numbers up to 1 stay in range, whatever the features' scale.
    peak = values.detach().amax(dim=(2, 3), keepdim=True)
    mean = (weights * (values / peak).pow(p)).sum(dim=(2, 3), keepdim=True)
    return (peak * mean.pow(1 / p)).flatten(1).to(feature_map.dtype)


@register_pooling("part_name")
class PartName(Pooling):
    """Generalised mean, each position weighted by its strength to the power of `sharpness` (Authors, Venue Year).

    Args:
        p: initial value of the exponent, which is learnt; 1 is the mean, infinity the maximum.
        sharpness: 0 weighs all positions alike, which is GeM.
        strength: of a position: the mean or the maximum over its channels.

    Raises:
        InputError: an impossible option.
    """

    order_matters = False

    def __init__(
        self, in_channels: int, p: float = 3.0, sharpness: float = 1.0, strength: Literal["mean", "max"] = "mean"
    ):
        super().__init__()
        if not p > 0:
            raise InputError(f"pooling.p must be positive, got {p}")
        if strength not in ("mean", "max"):
            raise InputError(nearest(str(strength), ("mean", "max"), noun="value of pooling.strength"))
        self.out_channels = in_channels
        self.p = nn.Parameter(torch.full((1,), float(p)))
        self.sharpness = sharpness
        self.strength = strength

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return weighted_generalised_mean(feature_map, self.p, self.weights(feature_map))

    def weights(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, 1, H, W)``, with sum 1 over the positions of an image."""
        values = at_least_float32(feature_map).clamp(min=1e-6)
        strength = values.mean(dim=1) if self.strength == "mean" else values.amax(dim=1)
        # Softmax of s log(x) is x^s over the sum of them, without its overflow.
        weights = (self.sharpness * strength.log()).flatten(1).softmax(dim=1)
        return weights.view(strength.shape)[:, None]
