"""What a backbone gives for a batch of images, and everything above it reads."""

from typing import NamedTuple

import torch
from torch import Tensor


class Features(NamedTuple):
    """Feature maps by stage, and tokens that have no place in the image.

    Attributes:
        maps: ``(B, C_s, H_s, W_s)`` for each of the last stages that were asked for; the last stage is ``maps[-1]``.
        tokens: ``(B, T, C)`` class and register tokens after the last stage, the class token first; None where the
            backbone has none or nobody asked for them.
    """

    maps: tuple[Tensor, ...]
    tokens: Tensor | None = None

    def to(self, device: torch.device) -> "Features":
        """The same on a device."""
        tokens = None if self.tokens is None else self.tokens.to(device)
        return Features(tuple(each.to(device) for each in self.maps), tokens)
