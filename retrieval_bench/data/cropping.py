"""Query boxes to pixels.

The published readers disagree in two points, and `Protocol.crop_rounding` names them after the first:

- "round": ``PIL.Image.crop``. Coordinates are rounded half to even; what the box covers outside the image is black.
- "truncate": ``image[int(y0):int(y1), int(x0):int(x1)]``. Coordinates are cut towards zero; the box is clipped.

The two differ by a pixel for 21 queries of ROxford5k and 8 of RParis6k.
"""

import math
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from retrieval_bench.data.reading import MAX_PIXELS
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.dataset import Box

Pixels = tuple[int, int, int, int]


def box_to_pixels(
    box: Box, size: tuple[int, int], rounding: Literal["round", "truncate"], path: str | Path = "image"
) -> Pixels:
    """The whole pixels x0, y0, x1, y1 (x1, y1 not included) that a box covers.

    Args:
        box: x0, y0, x1, y1 in pixels of the image as it is read.
        size: width and height of that image.
        rounding: see the module.
        path: what errors name.

    Raises:
        InputError: the box is empty, not finite, or covers nothing of the image.
    """
    if not all(math.isfinite(value) for value in box):
        raise InputError(f"{path}: the box {_text(box)} is not finite; give x0, y0, x1, y1 in pixels")
    width, height = size
    if rounding == "round":
        x0, y0, x1, y1 = (round(value) for value in box)
    else:
        x0, y0, x1, y1 = (max(int(value), 0) for value in box)
        x1, y1 = min(x1, width), min(y1, height)
    if x1 <= x0 or y1 <= y0:
        raise InputError(
            f"{path}: the box {_text(box)} holds no pixel of the {width}x{height} image; boxes are x0, y0, x1, y1 with "
            "x0 < x1 and y0 < y1"
        )
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0 or (x1 - x0) * (y1 - y0) > MAX_PIXELS:
        raise InputError(f"{path}: the box {_text(box)} does not fit the {width}x{height} image; check its units")
    return x0, y0, x1, y1


def crop(image: np.ndarray, pixels: Pixels) -> np.ndarray:
    """Cut ``(H, W, 3)`` `uint8` to `pixels`; outside the image is black."""
    x0, y0, x1, y1 = pixels
    height, width = image.shape[:2]
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        return image[y0:y1, x0:x1]
    return np.asarray(Image.fromarray(image).crop(pixels))


def _text(box: Box) -> str:
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"
