"""Neighbourhood attention: every position attends to the k x k positions nearest to it.

Hassani et al., "Neighborhood Attention Transformer", CVPR 2023. At the borders the window is shifted inwards, so that
every query has exactly k x k neighbours.
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 16
"""Side of the squares of queries that are computed at once: memory grows with the map's area, not with its square."""

Scaled = Literal["product", "sum"]


def window_side(length: int, neighbourhood: int) -> int:
    """The window's side on a map of `length`: `neighbourhood`, or the largest odd number that fits (1 for 2)."""
    return min(neighbourhood, length if length % 2 else length - 1)


def window_start(position: int, length: int, side: int) -> int:
    """The first of the `side` positions that `position` attends to, along one axis of `length`."""
    return min(max(position - side // 2, 0), length - side)


def offsets_between(queries: range, keys: range, length: int, neighbourhood: int, like: Tensor) -> Tensor:
    """Which offset lies between each query and each key along one axis.

    Args:
        queries, keys: positions on an axis of `length`.
        neighbourhood: side of a full window.
        like: gives device and dtype.

    Returns:
        ``(queries, keys, 2 * neighbourhood - 1)`` of 0 and 1: one 1 at ``key - query + neighbourhood - 1``, or none
        where the key lies outside the query's window.
    """
    side = window_side(length, neighbourhood)
    query = torch.arange(queries.start, queries.stop, device=like.device)[:, None]
    key = torch.arange(keys.start, keys.stop, device=like.device)
    offset = torch.arange(1 - neighbourhood, neighbourhood, device=like.device)
    start = (query - side // 2).clamp(0, length - side)
    inside = (key >= start) & (key < start + side)
    return (((key - query)[..., None] == offset) & inside[..., None]).to(like.dtype)


def relative_bias(table: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The bias of each pair of positions, minus infinity outside the window.

    Args:
        table: ``(heads, 2k - 1, 2k - 1)``, by offset of rows and columns.
        rows, columns: ``(queries, keys, 2k - 1)`` as from `offsets_between`.

    Returns:
        ``(heads, query rows * query columns, key rows * key columns)``.
    """
    # Multiplying by zeros and ones, where indexing would give the table a slow gradient that sums in any order.
    bias = torch.einsum("hab,rpa,cqb->hrcpq", table, rows, columns)
    inside = rows.any(-1)[:, None, :, None] & columns.any(-1)[None, :, None, :]
    return bias.masked_fill(~inside, float("-inf")).flatten(3).flatten(1, 2)


def tiles(length: int, neighbourhood: int, tile: int) -> Iterator[tuple[range, range]]:
    """Ranges of queries along one axis, each with the range of all keys that they attend to."""
    side = window_side(length, neighbourhood)
    for first in range(0, length, tile):
        stop = min(first + tile, length)
        keys = range(window_start(first, length, side), window_start(stop - 1, length, side) + side)
        yield range(first, stop), keys


def neighbourhood_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scaled: Scaled = "product", tile: int = TILE
) -> Tensor:
    """``softmax(q k / sqrt(d) + bias) v`` over the window of each position.

    Args:
        query, key, value: ``(B, heads, H, W, d)``; H and W from 1 up.
        bias: ``(heads, 2k - 1, 2k - 1)`` by offset; its size says how large a window is. Smaller maps have smaller
            windows, which read its middle.
        scaled: what is divided by ``sqrt(d)``: the product, or its sum with the bias.
        tile: side of the squares of queries that are computed at once; it changes no result.

    Returns:
        ``(B, heads, H, W, d)``.
    """
    height, width, depth = query.shape[-3:]
    neighbourhood = (bias.shape[-1] + 1) // 2
    table = bias if scaled == "product" else bias / depth**0.5
    done = []
    for rows, key_rows in tiles(height, neighbourhood, tile):
        row_offsets = offsets_between(rows, key_rows, height, neighbourhood, table)
        band = []
        for columns, key_columns in tiles(width, neighbourhood, tile):
            column_offsets = offsets_between(columns, key_columns, width, neighbourhood, table)
            ours = query[:, :, rows.start : rows.stop, columns.start : columns.stop]
            near = (slice(key_rows.start, key_rows.stop), slice(key_columns.start, key_columns.stop))
            attended = F.scaled_dot_product_attention(
                ours.flatten(2, 3),
                key[:, :, *near].flatten(2, 3),
                value[:, :, *near].flatten(2, 3),
                attn_mask=relative_bias(table, row_offsets, column_offsets)[None].to(query.dtype),
            )
            band.append(attended.view(ours.shape))
        done.append(torch.cat(band, dim=3))
    return torch.cat(done, dim=2)
