"""One image file to the pixels that a protocol describes: read, cut to the box, shrink."""

from pathlib import Path

import numpy as np

from retrieval_bench.data.cropping import box_to_pixels, crop
from retrieval_bench.data.reading import probe_size, read_image
from retrieval_bench.data.resizing import Size, resize, resized_size, size_limit
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.dataset import Box


def load_for_protocol(
    path: str | Path, box: Box | None, protocol: Protocol, *, tolerate_truncated: bool = False
) -> np.ndarray:
    """The pixels at scale 1, `uint8` RGB of shape ``(H, W, 3)``, kernel for kernel as the protocol's authors read them.

    `Protocol.small_side` is not applied here: it belongs to the scaled inputs of the network.

    Args:
        path: the image file.
        box: what to cut out, in pixels of the image as it is read (after the EXIF rule); None for all of it.
        protocol: EXIF rule, rounding of the crop, size limit and its kernel.
        tolerate_truncated: as in `read_image`.

    Raises:
        ImageError: the file yields no pixels.
        InputError: the box does not fit the image.
    """
    image = read_image(path, exif=protocol.exif, tolerate_truncated=tolerate_truncated)
    height, width = image.shape[:2]
    if box is None:
        return resize(image, size_limit(protocol, (width, height), None), protocol)
    pixels = box_to_pixels(box, (width, height), protocol.crop_rounding, path)
    return resize(crop(image, pixels), size_limit(protocol, (width, height), _size(pixels)), protocol)


def loaded_size(path: str | Path, box: Box | None, protocol: Protocol) -> Size:
    """Width and height of what `load_for_protocol` returns, from the file's header alone.

    Raises:
        ImageError, InputError: as `load_for_protocol`, except for damage behind the header.
    """
    whole = probe_size(path, exif=protocol.exif)
    if box is None:
        return resized_size(whole, size_limit(protocol, whole, None), protocol)
    cut = _size(box_to_pixels(box, whole, protocol.crop_rounding, path))
    return resized_size(cut, size_limit(protocol, whole, cut), protocol)


def _size(pixels: tuple[int, int, int, int]) -> Size:
    x0, y0, x1, y1 = pixels
    return x1 - x0, y1 - y0
