"""Centre-pivot 4D convolution: a 4D kernel of which only the two planes through its centre are left.

Min, Kang, Cho, "Hypercorrelation Squeeze for Few-Shot Segmentation", ICCV 2021, sec. 4.2; sungonce/CVNet
``model/base/conv4d.py`` and ``model/CVlearner.py``.

A volume is ``(B, hq, wq, hk, wk, C)``. With channels last, the planes of the key image are convolved where they lie.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.methods.cvnet.correlation import correlate

GROUPS = 4
"""Of the normalisation behind every convolution."""

AT_ONCE = {"cpu": 2**21}
"""Values of a volume that are convolved at once: on a processor no more than its cache holds."""

AT_ONCE_ELSEWHERE = 2**27


class CentrePivotConv(nn.Module):
    """Sum of two 2D convolutions with a bias each.

    One goes over the planes of the query image that belong to the key positions 0, s, 2s ..., the other over the planes
    of the key image that belong to such query positions; both move by s.

    Args:
        in_channels, out_channels: C and C'.
        kernel: side of both kernels; planes are padded by half of it.
        stride: s.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int):
        super().__init__()
        self.stride = stride
        self.query_plane = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2)
        self.key_plane = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2)

    def forward(self, volume: Tensor) -> Tensor:
        """``(B, hq, wq, hk, wk, C)`` -> ``(B, hq', wq', hk', wk', C')``, every side ``ceil(side / s)``."""
        step = self.stride
        over_query = volume[:, :, :, ::step, ::step].permute(0, 3, 4, 1, 2, 5)
        over_key = volume[:, ::step, ::step]
        return joined(self._convolved(self.query_plane, over_query), self._convolved(self.key_plane, over_key))

    def _convolved(self, conv: nn.Conv2d, planes: Tensor) -> Tensor:
        """``(B, m, n, h, w, C)``, planes at m x n positions -> ``(B, m, n, h', w', C')``."""
        rows = planes.split(rows_at_once(planes[:, :1].numel(), planes.device), dim=1)
        return torch.cat([_in_place_of(part, conv(_channels_second(part.flatten(0, 2)))) for part in rows], dim=1)


class CorrelationConv(CentrePivotConv):
    """The first convolution, over the correlation of two pyramids, which is never stored whole.

    It reads no other parts of the correlation than the planes at every s-th position of either image; they are computed
    a few rows of positions at a time.

    Args:
        scales: S of the pyramids; the volume has ``S * S`` channels, the query's scale counting first.
        out_channels, kernel, stride: as in `CentrePivotConv`.
    """

    def __init__(self, scales: int, out_channels: int, kernel: int, stride: int):
        super().__init__(scales * scales, out_channels, kernel, stride)
        self.scales = scales

    def forward(self, query: Tensor, key: Tensor) -> Tensor:  # type: ignore[override]
        """``(B, S, D, hq, wq)`` and ``(B, S, D, hk, wk)``, either B may be 1 -> ``(B, hq', wq', hk', wk', C')``."""
        # With the key's positions as pivots, its scale counts first.
        weight = self.query_plane.weight.unflatten(1, (self.scales, self.scales)).transpose(1, 2).flatten(1, 2)
        over_query = self._correlated(key, query, weight, self.query_plane.bias)
        over_key = self._correlated(query, key, self.key_plane.weight, self.key_plane.bias)
        return joined(over_query, over_key)

    def _correlated(self, pivots: Tensor, planes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolved planes ``(B, m, n, h', w', C')`` at every s-th position, m x n of them, of `pivots`."""
        chosen = pivots[..., :: self.stride, :: self.stride]
        pairs = max(len(pivots), len(planes))
        in_a_row = pairs * chosen.shape[-1] * self.scales**2 * planes.shape[-2] * planes.shape[-1]
        weight = weight.contiguous(memory_format=torch.channels_last)
        padding = self.query_plane.padding
        parts = []
        for rows in chosen.split(rows_at_once(in_a_row, planes.device), dim=3):
            correlation = correlate(rows.flatten(3), planes)
            convolved = F.conv2d(correlation.flatten(0, 1), weight, bias, self.stride, padding)
            parts.append(convolved.permute(0, 2, 3, 1).unflatten(0, (pairs, *rows.shape[-2:])))
        return torch.cat(parts, dim=1)


class CentrePivotLayer(nn.Module):
    """Convolution, group normalisation, ReLU."""

    def __init__(self, conv: CentrePivotConv):
        super().__init__()
        self.conv = conv
        self.norm = nn.GroupNorm(GROUPS, conv.key_plane.out_channels)

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the convolution takes -> ``(B, hq', wq', hk', wk', C')``, not negative."""
        volume = self.conv(*inputs)
        flat = volume.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)  # (B, C, query positions, key positions)
        return F.relu(self.norm(flat)).permute(0, 2, 3, 1).reshape(volume.shape)


def joined(over_query: Tensor, over_key: Tensor) -> Tensor:
    """``(B, hk, wk, hq, wq, C)`` + ``(B, hq, wq, hk, wk, C)`` -> ``(B, hq, wq, hk, wk, C)``."""
    return over_key + over_query.permute(0, 3, 4, 1, 2, 5)


def rows_at_once(values_in_a_row: int, device: torch.device) -> int:
    """How many rows of positions to take at once, at least 1."""
    return max(1, AT_ONCE.get(device.type, AT_ONCE_ELSEWHERE) // max(1, values_in_a_row))


def _channels_second(planes: Tensor) -> Tensor:
    return planes.permute(0, 3, 1, 2)


def _in_place_of(planes: Tensor, convolved: Tensor) -> Tensor:
    """``(B * m * n, C', h', w')`` in the arrangement of ``planes`` (B, m, n, h, w, C)."""
    return convolved.permute(0, 2, 3, 1).unflatten(0, planes.shape[:3])
