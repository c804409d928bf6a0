"""Attention over positions in the line of DELF: a positive score for each, from a small network that sees it alone.

Noh et al., "Large-Scale Image Retrieval with Attentive Deep Local Features" (DELF), ICCV 2017, sec. 4.2.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class LocalMaps:
    """Dense local features.

    Attributes:
        descriptors: ``(B, d, H, W)``, unit L2 norm over channels.
        scores: ``(B, 1, H, W)`` attention, positive.
    """

    descriptors: Tensor
    scores: Tensor


def positive_scores(hidden: Tensor, score: nn.Conv2d) -> Tensor:
    """``softplus(w . relu(h) + b)``: ``(B, d, H, W)`` hidden values -> ``(B, 1, H, W)``."""
    return F.softplus(score(F.relu(hidden)))


class AttendedDescriptors(nn.Module):
    """Scores, and descriptors from the hidden layer of their own network, as in feymanpriv/DELG and DOLG.

    Args:
        in_channels: C of the map.
        local_dim: d of the descriptors, which are the attention's hidden channels before its ReLU.
    """

    def __init__(self, in_channels: int, local_dim: int):
        super().__init__()
        self.hidden = nn.Conv2d(in_channels, local_dim, 1)
        self.norm = nn.BatchNorm2d(local_dim)
        self.score = nn.Conv2d(local_dim, 1, 1)

    def forward(self, feature_map: Tensor) -> LocalMaps:
        """``(B, C, H, W)`` -> dense local features."""
        hidden = self.norm(self.hidden(feature_map))
        return LocalMaps(F.normalize(hidden, dim=1), positive_scores(hidden, self.score))
