"""The size limit of a protocol: how large an image becomes, and by which kernel. Nothing is ever enlarged here.

- "thumbnail-lanczos": ``PIL.Image.thumbnail((s, s), LANCZOS)`` with its default `reducing_gap` of 2, on decoded RGB
  (cirtorch's `imresize`; being RGB in memory, the JPEG decoder's draft mode plays no part).
- "bilinear-antialias": ``PIL.Image.resize(BILINEAR)`` to both sides times limit / longest side, rounded half to even
  (TensorFlow DELG, `delf/python/utils.py` ResizeImage).

A side never falls below one pixel.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from retrieval_bench.settings.protocol import Protocol

Size = tuple[int, int]


def size_limit(protocol: Protocol, whole: Size, cut: Size | None) -> float | None:
    """The longest side that the protocol allows, in pixels; None where it sets no limit.

    Args:
        whole: width and height of the image.
        cut: width and height of its crop, None for the whole image.
    """
    if protocol.image_size is None or protocol.resize == "none":
        return None
    if cut is None or protocol.query_size == "full":
        return float(protocol.image_size)
    return max(protocol.image_size * max(cut) / max(whole), 1.0)


def resized_size(size: Size, limit: float | None, protocol: Protocol) -> Size:
    """Width and height that `resize` gives an image of `size`."""
    width, height = size
    if limit is None:
        return size
    if protocol.resize == "bilinear-antialias":
        longest = max(size)
        if longest <= limit:
            return size
        return max(round(width * (limit / longest)), 1), max(round(height * (limit / longest)), 1)
    side = math.floor(limit)
    if side >= width and side >= height:
        return size
    aspect = width / height
    if aspect <= 1:
        return _nearest_side(side * aspect, lambda n: abs(aspect - n / side)), side
    return side, _nearest_side(side / aspect, lambda n: abs(aspect - side / n) if n else 0.0)


def resize(image: np.ndarray, limit: float | None, protocol: Protocol) -> np.ndarray:
    """Shrink ``(H, W, 3)`` `uint8` to `limit` by the protocol's kernel."""
    height, width = image.shape[:2]
    target = resized_size((width, height), limit, protocol)
    if target == (width, height) or limit is None:
        return image
    picture = Image.fromarray(image)
    if protocol.resize == "thumbnail-lanczos":
        picture.thumbnail((limit, limit), Image.Resampling.LANCZOS)
    else:
        picture = picture.resize(target, Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _nearest_side(side: float, distance: Callable[[int], float]) -> int:
    """Of the whole numbers around `side`, the one that keeps the aspect ratio best (Pillow's rule)."""
    return max(min(math.floor(side), math.ceil(side), key=distance), 1)
