"""How the matcher is trained: two pairs from every triplet, one of the same landmark and one of different ones."""

import torch
import torch.nn.functional as F
from torch import Tensor

from retrieval_bench.methods.cvnet.hiding import hide_positions
from retrieval_bench.methods.cvnet.matcher import Matcher
from retrieval_bench.settings.errors import InputError

DIFFERENT, SAME = 0, 1


def matching_losses(
    matcher: Matcher, maps: Tensor, labels: Tensor, hide: float = 0.0, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Softmax cross-entropy of both pairs of every triplet.

    Source: Lee et al., CVPR 2022, eqs. 5 and 6.

    Args:
        matcher: the network in training.
        maps: ``(3 T, C, h, w)`` feature maps in the order query, positive, negative, query, ...
        labels: ``(3 T,)`` classes of their images.
        hide: share of positions to hide, as in `hide_positions`.
        generator: of the hiding.

    Returns:
        ``positive`` and ``negative``, the means over pairs of either kind, and ``loss``, their sum.

    Raises:
        InputError: the batch is not made of triplets.
    """
    check_triplets(maps, labels)
    pyramids = matcher.pyramid(hide_positions(maps, hide, generator))
    query, positive, negative = pyramids[0::3], pyramids[1::3], pyramids[2::3]
    logits = matcher.logits(torch.cat([query, query]), torch.cat([positive, negative]))
    with torch.autocast(logits.device.type, enabled=False):
        same, different = logits.chunk(2)
        losses = {
            "positive": F.cross_entropy(same, labels.new_full((len(query),), SAME)),
            "negative": F.cross_entropy(different, labels.new_full((len(query),), DIFFERENT)),
        }
        return {"loss": losses["positive"] + losses["negative"], **losses}


def check_triplets(maps: Tensor, labels: Tensor) -> None:
    """Raise an `InputError` where rows are not query, positive, negative, query, ..."""
    if len(maps) == 0 or len(maps) % 3 or labels.shape != (len(maps),):
        raise InputError(
            f"the matcher learns from triplets of query, positive and negative, got {len(maps)} feature maps with "
            f"labels of shape {tuple(labels.shape)}; set train.sampler=hard-triplets and a batch size that 3 divides"
        )
    query, positive, negative = labels[0::3], labels[1::3], labels[2::3]
    if not bool(((query == positive) & (query != negative)).all()):
        raise InputError(
            "the matcher learns from triplets of query, positive and negative, but the labels of this batch do not "
            "alternate so; set train.sampler=hard-triplets"
        )
