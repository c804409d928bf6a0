"""part_name: every image borrows from the images of the batch that are most like it.

Source: own work; or authors, "title", venue and year, section or equation.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.batch_attention import BatchAttention, register_batch_attention
from retrieval_bench.settings.errors import InputError


def borrowed(descriptors: Tensor, temperature: float) -> Tensor:
    """Every image's mean of the batch, weighed by the softmax of cosines.

    Args:
        descriptors: ``(B, D)``.
        temperature: of the softmax; near 0 an image borrows from itself alone.

    Returns:
        ``(B, D)``.
    """
    unit = F.normalize(descriptors, dim=1)
    return (unit @ unit.T / temperature).softmax(dim=1) @ descriptors


@register_batch_attention("part_name")
class PartName(BatchAttention):
    """Descriptors as they are, and with a learnt share of what they borrow from the batch (Authors, Venue Year).

    Args:
        dim: D of the descriptors.
        temperature: of the weights of other images.
        share: initial share of what is borrowed, of each dimension.

    Raises:
        InputError: an impossible option.
    """

    order_matters = False

    def __init__(self, dim: int, temperature: float = 0.2, share: float = 0.5):
        super().__init__()
        if not temperature > 0:
            raise InputError(f"loss.batch_attention.temperature must be positive, got {temperature}")
        self.temperature = temperature
        self.share = nn.Parameter(torch.full((dim,), float(share)))

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, D)`` and ``(B,)`` -> ``(2 B, D)``: descriptors as they are, then with what they borrow; ``(2 B,)``."""
        share = self.share.to(descriptors.dtype)
        mixed = (1 - share) * descriptors + share * borrowed(descriptors, self.temperature)
        return torch.cat([descriptors, mixed]), labels.repeat(2)
