"""The order of a ranking: by score, and of two equal scores the smaller database row first.

Score and row go together into one 64-bit integer, larger is better. No two rows of a query have the same one, so the
best k are one definite set in one definite order, whatever algorithm picks them and however the database is cut.
"""

import torch
from torch import Tensor

MAX_ROWS = 2**32
"""Rows must be below this."""


def pack(scores: Tensor, rows: Tensor) -> Tensor:
    """Keys of scored rows.

    Args:
        scores: ``(..., n)`` float32, no NaN.
        rows: int64, of a shape that broadcasts to that of the scores.

    Returns:
        ``(..., n)`` int64.
    """
    # Adding zero turns -0 into +0, which equals it but has other bits.
    bits = (scores + 0.0).contiguous().view(torch.int32)
    # The bits of floats order like integers, but for negative ones the wrong way round: flip all but their sign.
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (rising.long() << 32) | (MAX_ROWS - 1 - rows)


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Scores, float32, and rows, int64, of keys."""
    rising = (keys >> 32).int()
    bits = rising ^ ((rising >> 31) & 0x7FFFFFFF)
    return bits.view(torch.float32), MAX_ROWS - 1 - (keys & (MAX_ROWS - 1))
