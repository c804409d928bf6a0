"""How many negatives score above each positive, one chunk of the database at a time.

Tie rule, the same in the whole package: of two equal scores the one with the smaller database row stands higher. It
makes the order of a ranking total, so that counts do not depend on how the database is cut into chunks.
"""

import torch
from torch import Tensor

_ROW_LIMIT = 2**32
"""Database rows must be below this minus one, so that a place and a row fit together into 64 bits."""


class OrderedPositives:
    """The positives of all queries in the order of their scores, ready for counting.

    Args:
        scores: ``(Q, P)`` float32 or float64, score of each positive; ``+inf`` in the unused places of queries with
            fewer than P positives.
        rows: ``(Q, P)`` int64, their database rows.
    """

    def __init__(self, scores: Tensor, rows: Tensor):
        # From worst to best: by row, falling, then by score, rising, without disturbing the rows of equal scores.
        by_row = rows.argsort(dim=1, descending=True, stable=True)
        by_score = scores.gather(1, by_row).argsort(dim=1, stable=True)
        self.order = by_row.gather(1, by_score)
        self.scores = scores.gather(1, self.order).contiguous()
        places = torch.searchsorted(self.scores, self.scores)
        self.keys = _key(places, rows.gather(1, self.order))

    def count_above(self, scores: Tensor, rows: Tensor, is_negative: Tensor) -> Tensor:
        """Count the negatives of one chunk above each positive, in O(Q n log P).

        Args:
            scores: ``(Q, n)``, in the same dtype as the positives', no NaN.
            rows: ``(n,)`` int64, their database rows, none of which is a positive where `is_negative` holds.
            is_negative: ``(Q, n)`` bool; others are not counted.

        Returns:
            ``(Q, P)`` int64, in the order in which the positives were given.
        """
        queries, width = self.scores.shape
        if width == 0:
            return scores.new_zeros((queries, 0), dtype=torch.int64)
        place = torch.searchsorted(self.scores, scores.contiguous())
        tied = self.scores.gather(1, place.clamp(max=width - 1)) == scores
        # A score strictly between two positives gets the smallest key of its place: nothing at that place is below it.
        key = torch.where(tied & (place < width), _key(place, rows), place * _ROW_LIMIT)
        positives_below = torch.searchsorted(self.keys, key)
        histogram = scores.new_zeros((queries, width + 1), dtype=torch.int64)
        histogram.scatter_add_(1, positives_below, is_negative.long())
        above = histogram.flip(1).cumsum(1).flip(1)[:, 1:]
        return torch.zeros_like(above).scatter_(1, self.order, above)


def _key(place: Tensor, rows: Tensor) -> Tensor:
    """One integer that orders by place and, within a place, puts the smaller row higher."""
    return place * _ROW_LIMIT + (_ROW_LIMIT - 1 - rows)
