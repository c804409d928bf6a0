"""The region grid of R-MAC.

Tolias, Sicre and Jégou, "Particular Object Retrieval with Integral Max-Pooling of CNN Activations", ICLR 2016, sec. 4,
in the rounding of cirtorch's ``rmac``, which computes in float32. Two counts may be equally good, as for a 10 x 18
map, and a start may lie within rounding of a whole number, where other arithmetic gives another grid.
"""

import math
from itertools import product

import numpy as np

Region = tuple[int, int, int]
"""Top row, left column and side of a square."""

OVERLAP = 0.4


def region_grid(height: int, width: int, levels: int) -> list[Region]:
    """Square regions of a ``height x width`` map, level by level and row by row, without the whole map.

    At level l the side is ``2 * min(H, W) / (l + 1)``, and neighbours along the longer side overlap by about 40 %.
    """
    short = min(height, width)
    extra = extra_regions(short, max(height, width))
    tall, wide = (extra if height > width else 0), (extra if width > height else 0)
    grid: list[Region] = []
    for level in range(1, levels + 1):
        side = 2 * short // (level + 1)
        if side == 0:
            continue
        tops = starts(height, side, level + tall)
        lefts = starts(width, side, level + wide)
        grid += [(top, left, side) for top, left in product(tops, lefts)]
    return grid


def extra_regions(short: int, long: int) -> int:
    """Regions that the longer side has more than the shorter one: the count of 1 to 6 with overlap nearest to 40 %."""
    if short == long:
        return 0

    # A reciprocal and a product: that is how torch divides a number by a tensor.
    step = np.float32(long - short) * np.reciprocal(np.arange(1, 7, dtype=np.float32))
    overlap = (np.float32(short**2) - np.float32(short) * step) / np.float32(short**2)
    return 1 + int(np.abs(overlap - np.float32(OVERLAP)).argmin())


def starts(length: int, side: int, count: int) -> list[int]:
    """First rows or columns of `count` regions of `side`, evenly spread over `length`."""
    offset = math.floor(side / 2 - 1)
    step = (length - side) / (count - 1) if count > 1 else 0.0
    centres = np.float32(offset) + np.arange(count, dtype=np.float32) * np.float32(step)
    return [int(centre) - offset for centre in np.floor(centres)]
