"""DOLG's local branch: attended descriptors of the map before the last stage (Yang et al., ICCV 2021, sec. 3.2).

Attention and descriptors are those of DELG-PyTorch, at the map's own width; unlike there nothing is detached, so that
the one loss trains them and the backbone. The multi-atrous block in front of them belongs to the paper; the released
code never built it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.attentive import AttendedDescriptors, LocalMaps

DILATIONS = (6, 12, 18)


class MultiAtrous(nn.Module):
    """Context at several distances: image pooling, a 1x1 and three dilated 3x3 convolutions, merged by a 1x1.

    As in feymanpriv/DOLG no batch normalisation follows, and no activation but the two ReLUs of the image's branch and
    of the result. Each branch has half the channels.

    Args:
        channels: C of the map.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 2)
        self.image = nn.Conv2d(channels, inner, 1)
        dilated = [nn.Conv2d(channels, inner, 3, padding=reach, dilation=reach) for reach in DILATIONS]
        self.branches = nn.ModuleList([nn.Conv2d(channels, inner, 1), *dilated])
        self.merge = nn.Conv2d((2 + len(DILATIONS)) * inner, channels, 1)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C, H, W)``, not negative."""
        image = F.relu(self.image(feature_map.mean(dim=(2, 3), keepdim=True)))
        branches = [image.expand(-1, -1, *feature_map.shape[2:]), *(branch(feature_map) for branch in self.branches)]
        return F.relu(self.merge(torch.cat(branches, dim=1)))


class LocalBranch(nn.Module):
    """Context, then attention: score times unit descriptor at every position.

    Args:
        channels: C of the map.
        multi_atrous: whether the multi-atrous block comes first.
    """

    def __init__(self, channels: int, multi_atrous: bool):
        super().__init__()
        self.context = MultiAtrous(channels) if multi_atrous else nn.Identity()
        self.attention = AttendedDescriptors(channels, channels)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, feature_map: Tensor) -> LocalMaps:
        """``(B, C, H, W)`` -> unit descriptors ``(B, C, H, W)`` and positive scores ``(B, 1, H, W)``."""
        found: LocalMaps = self.attention(self.context(feature_map))
        return found

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C, H, W)``, attended."""
        found = self.maps(feature_map)
        return found.scores * found.descriptors
