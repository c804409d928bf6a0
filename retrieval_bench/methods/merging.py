"""Descriptors of several scales become one."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.settings.protocol import Protocol


def unit(descriptors: Tensor) -> Tensor:
    """L2-normalise ``(..., D)`` in float32; a zero vector stays zero and finite."""
    return F.normalize(descriptors.float(), dim=-1)


def mean(parts: Tensor, exponent: float) -> Tensor:
    """``(S, B, D)`` -> ``(B, D)``: the mean of unit descriptors; `exponent` plays no part."""
    return unit(parts).mean(dim=0)


def power_mean(parts: Tensor, exponent: float) -> Tensor:
    """``(mean v^p)^(1/p)`` of unit descriptors without negative values (Radenović et al., TPAMI 2018; cirtorch)."""
    return unit(parts)[0] if len(parts) == 1 else unit(parts).clamp(min=0).pow(exponent).mean(dim=0).pow(1 / exponent)


def maximum(parts: Tensor, exponent: float) -> Tensor:
    """Elementwise maximum of unit descriptors: Scale-GeM with an infinite exponent (Shao et al., ICCV 2023)."""
    return unit(parts).amax(dim=0)


def raw_mean(parts: Tensor, exponent: float) -> Tensor:
    """The mean of descriptors that are not normalised: SuperGlobal's code without Scale-GeM."""
    return parts.float().mean(dim=0)


def shifted_power(parts: Tensor, exponent: float) -> Tensor:
    """Scale-GeM with a finite exponent: ``(mean (v - g)^p)^(1/p) + g`` of descriptors that are not normalised.

    g is the least value of an image's descriptors; the published code takes it over the whole batch, which is the same
    for batches of one.
    """
    least = parts.float().amin(dim=(0, 2), keepdim=True)  # (1, B, 1)
    above = parts.float() - least
    # Powers of values scaled to [0, 1] stay in range.
    peak = above.amax(dim=0).clamp(min=torch.finfo(torch.float32).tiny)
    return peak * (above / peak).pow(exponent).mean(dim=0).pow(1 / exponent) + least[0]


MERGES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "mean": mean,
    "power-mean": power_mean,
    "max": maximum,
    "raw-mean": raw_mean,
    "shifted-power": shifted_power,
}
"""Rule of a `Protocol` -> function of ``(S, B, D)`` descriptors and an exponent."""


def merge_scales(parts: Sequence[Tensor], protocol: Protocol, exponent: float = 1.0) -> Tensor:
    """Merge descriptors ``(B, D)`` of several scales, not normalised, into one ``(B, D)`` of unit norm.

    Args:
        parts: one entry per scale.
        protocol: names the rule.
        exponent: of power means, where the protocol names none.
    """
    return unit(MERGES[protocol.merge](torch.stack(list(parts)), protocol.merge_exponent or exponent))
