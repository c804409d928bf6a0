"""Ways to fuse a local map with a global vector of the same channels (Yang et al., ICCV 2021, sec. 3.3 and 4.3).

`orthogonal` is DOLG. The other two are its paper's ablation, for which no code is public: `concatenation` leaves the
projection out; `hadamard` is read as the elementwise product alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from retrieval_bench.pooling.orthogonal import orthogonal_component


def orthogonal(local: Tensor, whole: Tensor) -> Tensor:
    """``(B, C, H, W)`` and ``(B, C)`` -> ``(B, 2C)``: the global vector, then the mean orthogonal component.

    The paper concatenates at every position and then averages, which is the same.
    """
    return concatenation(orthogonal_component(local, whole), whole)


def concatenation(local: Tensor, whole: Tensor) -> Tensor:
    """``(B, C, H, W)`` and ``(B, C)`` -> ``(B, 2C)``: the global vector, then the mean local one."""
    return torch.cat([whole, local.mean(dim=(2, 3))], dim=1)


def hadamard(local: Tensor, whole: Tensor) -> Tensor:
    """``(B, C, H, W)`` and ``(B, C)`` -> ``(B, C)``: the mean of their elementwise product."""
    return whole * local.mean(dim=(2, 3))


@dataclass(frozen=True)
class Fusion:
    """One way.

    Attributes:
        fuse: local map and global vector -> fused vector.
        widths: channels of the result over C.
    """

    fuse: Callable[[Tensor, Tensor], Tensor]
    widths: int


FUSIONS = {
    "orthogonal": Fusion(orthogonal, 2),
    "concatenation": Fusion(concatenation, 2),
    "hadamard": Fusion(hadamard, 1),
}
