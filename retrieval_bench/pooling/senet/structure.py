"""SENet's structural module: a map plus an encoding of its self-similarity (Lee et al., CVPR 2023; sungonce/SENet)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.pooling.senet.self_similarity import padded_self_similarity
from retrieval_bench.settings.errors import InputError

AT_ONCE = 2**24
"""Self-similarities held at a time when nothing is learnt: 64 MiB in float32, the maps of a batch of usual images."""


class StructuralModule(nn.Module):
    """Self-similarity of the reduced map, encoded position by position, added to the map; then a feed-forward layer.

    The published layers are Conv3d of depth one over (position, row, column); positions never mix in them, so that here
    each position is an image of the batch of a Conv2d. Batch statistics run over the same values.

    Args:
        channels: C of the map.
        mid_dim: channels of the self-similarity.
        unfold_size: side of the neighbourhood, odd, at least 3; half as many layers, rounded down, encode it.
        kernel_size: of those layers, 1 to 3; a larger one would leave nothing of the neighbourhood.

    Raises:
        InputError: sizes outside these bounds.
    """

    def __init__(self, channels: int, mid_dim: int, unfold_size: int, kernel_size: int):
        super().__init__()
        if mid_dim < 1:
            raise InputError(f"senet: mid_dim must be at least 1, got {mid_dim}")
        if unfold_size < 3 or unfold_size % 2 == 0:
            raise InputError(f"senet: unfold_size must be odd and at least 3, got {unfold_size}")
        if kernel_size not in (1, 2, 3):
            raise InputError(f"senet: kernel_size must be 1, 2 or 3, got {kernel_size}")
        self.unfold_size = unfold_size
        self.reduce = nn.Conv2d(channels, mid_dim, 1, bias=False)
        self.expand = nn.Conv2d(mid_dim, channels, 1)
        self.expand_norm = nn.BatchNorm2d(channels)
        self.feed_forward = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 1))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        # Built after the others are drawn: the authors' initialisation leaves these at PyTorch's default.
        self.encoder = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(mid_dim, mid_dim, kernel_size), nn.BatchNorm2d(mid_dim), nn.ReLU())
                for _ in range(unfold_size // 2)
            )
        )

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C, H, W)``, signed."""
        structure = self.expand_norm(self.expand(self.encoded(self.reduce(feature_map))))
        enriched: Tensor = self.feed_forward(feature_map + structure)
        return enriched

    def encoded(self, reduced: Tensor) -> Tensor:
        """``(B, mid_dim, H, W)``, not normalised -> ``(B, mid_dim, H, W)`` encoding of its self-similarity."""
        unit_map = F.normalize(at_least_float32(reduced), dim=1).to(reduced.dtype)
        padded = F.pad(unit_map, (self.unfold_size // 2,) * 4)
        if self.training:  # batch statistics need all positions together
            return self._encoded(padded)
        height, width = reduced.shape[-2:]
        positions = max(1, AT_ONCE // (reduced.shape[1] * self.unfold_size**2))
        images = max(1, positions // (height * width))
        rows = max(1, positions // width)
        around = self.unfold_size - 1
        strips = [
            torch.cat([self._encoded(part[:, :, top : top + rows + around]) for top in range(0, height, rows)], dim=2)
            for part in padded.split(images)
        ]
        return torch.cat(strips)

    def _encoded(self, padded: Tensor) -> Tensor:
        """``(B, C, h + around, w + around)`` of a padded map -> ``(B, C, h, w)``."""
        similarity = padded_self_similarity(padded, self.unfold_size)
        codes = self.encoder(similarity.flatten(0, 2)).mean(dim=(2, 3))  # (B * h * w, C)
        return codes.unflatten(0, similarity.shape[:3]).permute(0, 3, 1, 2)
