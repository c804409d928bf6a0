"""Regional pooling, ``Rpool`` in cirtorch: GeM or MAC of every R-MAC region, whitened region by region, then summed.

Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018; the layer is
cirtorch's, whose names for the parts (``rpool``, ``whiten``) are kept.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gem import GeM
from retrieval_bench.pooling.mac import MAC
from retrieval_bench.pooling.normalise import l2_normalise
from retrieval_bench.pooling.option_checks import check_counts, check_positive
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.pooling.regions import region_grid
from retrieval_bench.settings.errors import InputError, nearest


@register_pooling("regional")
class RegionalGeM(Pooling):
    """Regional GeM or MAC of the R-MAC regions, whitened one by one and summed (Radenović et al., TPAMI 2018).

    ``N(sum over regions r of N(W N(pool(x_r)) + b))`` with ``N(v) = v / (|v| + eps)``; W and b only with `whiten`.

    Args:
        base: how one region is pooled.
        p: initial exponent, where `base` is ``"gem"``.
        levels: of the region grid.
        whiten: whether a linear layer C -> C follows on each region. It starts as PyTorch's default; cirtorch starts
            it from whitening learnt on regions.
        eps: the least value of a position, and what is added to norms.

    Raises:
        InputError: another base, fewer than one level, or an exponent or eps that is not positive.
    """

    order_matters: ClassVar[bool | None] = True

    def __init__(
        self,
        in_channels: int,
        base: Literal["gem", "mac"] = "gem",
        p: float = 3.0,
        levels: int = 3,
        whiten: bool = False,
        eps: float = 1e-6,
    ):
        super().__init__()
        if base not in ("gem", "mac"):
            raise InputError(nearest(str(base), ("gem", "mac"), noun="value of pooling.base"))
        check_counts(levels=levels)
        check_positive(eps=eps)
        self.out_channels = in_channels
        self.levels = levels
        self.eps = eps
        self.rpool = GeM(in_channels, p, eps) if base == "gem" else MAC(in_channels)
        self.whiten = nn.Linear(in_channels, in_channels) if whiten else None

    def regions(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, R, C)``: the normalised vectors of the whole map and of R - 1 regions."""
        values = at_least_float32(feature_map)
        height, width = values.shape[-2:]
        pooled = [self.rpool(values)]
        for top, left, side in region_grid(height, width, self.levels):
            pooled.append(self.rpool(values[..., top : top + side, left : left + side]))
        vectors = l2_normalise(torch.stack(pooled, dim=1), dim=-1, eps=self.eps)
        if self.whiten is None:
            return vectors
        return l2_normalise(at_least_float32(self.whiten(vectors.to(self.whiten.weight.dtype))), dim=-1, eps=self.eps)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return l2_normalise(self.regions(feature_map).sum(dim=1), eps=self.eps).to(feature_map.dtype)
