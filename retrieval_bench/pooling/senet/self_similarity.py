"""Self-similarity: how every position of a map resembles its neighbours, channel by channel.

Lee et al., "Revisiting Self-Similarity: Structural Embedding for Image Retrieval", CVPR 2023, as in sungonce/SENet
(``model/self_similarity.py``). The products are not summed over channels.
"""

import torch.nn.functional as F
from torch import Tensor


def self_similarity(unit_map: Tensor, size: int) -> Tensor:
    """Products of each position with its ``size x size`` neighbourhood, negative ones set to zero.

    Args:
        unit_map: ``(B, C, H, W)``, unit L2 norm over channels; zeros lie around it.
        size: odd.

    Returns:
        ``(B, H, W, C, size, size)`` in [0, 1].
    """
    return padded_self_similarity(F.pad(unit_map, (size // 2,) * 4), size)


def padded_self_similarity(padded: Tensor, size: int) -> Tensor:
    """`self_similarity` of the inside of a map with ``size // 2`` positions around it.

    Args:
        padded: ``(B, C, H + size - 1, W + size - 1)``.
        size: odd.

    Returns:
        ``(B, H, W, C, size, size)``.
    """
    windows = padded.unfold(2, size, 1).unfold(3, size, 1).permute(0, 2, 3, 1, 4, 5)  # a view: (B, H, W, C, size, size)
    centres = windows[..., size // 2, size // 2]
    return (windows * centres[..., None, None]).relu_()
