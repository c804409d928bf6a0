"""Batch Transformer, as far as its idea carries over from feature maps to descriptors.

Her, Jeong, Song and Han, "Batch Transformer: Look for Attention in Batch", IEEE Access 2025 (arXiv 2407.04218), a
network for facial expressions. Its class batch attention compares the images of a batch channel by channel, on maps
with an encoding of the channels, and mixes the batch's values by it; both the mixture and its sum with the values are
supervised beside the network itself. It has no weights but the encoding.
"""

import torch
from torch import Tensor

from retrieval_bench.batch_attention.base import BatchAttention, register_batch_attention
from retrieval_bench.settings.errors import InputError


def batch_mixture(descriptors: Tensor, groups: int) -> Tensor:
    """Every image's sum of the batch, weighed by the softmax of inner products, within each group of channels.

    Args:
        descriptors: ``(B, D)``.
        groups: into which the channels are cut, one behind the other; it divides D.

    Returns:
        ``(B, D)``. Inner products are divided by the root of the number of channels of a group.
    """
    values = descriptors.unflatten(1, (groups, -1)).transpose(0, 1)  # (groups, B, D / groups)
    weights = (values @ values.transpose(1, 2) / values.shape[2] ** 0.5).softmax(dim=2)
    return (weights @ values).transpose(0, 1).flatten(1)


@register_batch_attention("batchtransformer")
class BatchTransformer(BatchAttention):
    """Attention over the batch without weights, after Batch Transformer (Her et al., IEEE Access 2025); an adaptation.

    The loss sees the descriptors, their mixtures over the batch, and the sums of both, with the labels three times.
    What differs from the published module: it attends within groups of the descriptor's channels where that one
    compares each channel's map, it has no encoding of channels, all three parts weigh the same, and nothing but the
    publicly shown code was known of it: unverified. No published result is on image retrieval.

    Args:
        dim: D of the descriptors.
        groups: of channels that attend separately.

    Raises:
        InputError: groups that do not divide D.
    """

    order_matters = False

    def __init__(self, dim: int, groups: int = 1):
        super().__init__()
        if groups < 1 or dim % groups:
            raise InputError(
                f"loss.batch_attention.groups={groups} does not divide the {dim} dimensions of the descriptor; take a "
                "divisor"
            )
        self.groups = groups

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, D)`` and ``(B,)`` -> ``(3 B, D)``: descriptors, mixtures, their sums; and ``(3 B,)``."""
        mixture = batch_mixture(descriptors, self.groups)
        return torch.cat([descriptors, mixture, descriptors + mixture]), labels.repeat(3)
