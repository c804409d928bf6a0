"""Image files to RGB pixels, by one decoder (Pillow), or an error that names the file.

Pillow and `cv2.imread` return the same bits for JPEG files (both decode with libjpeg-turbo's defaults), so the
published readers differ in one rule only: OpenCV turns the picture as its EXIF orientation says, Pillow does not. That
rule is `exif`. Nothing else is guessed: a pixel format whose range is unknown is an error.
"""

import errno
import os
import stat
import struct
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from retrieval_bench.settings.errors import InputError

ExifRule = Literal["ignore", "apply"]

MAX_PIXELS = 178_956_970
"""Largest image in pixels: twice Pillow's `MAX_IMAGE_PIXELS`, beyond which Pillow refuses by itself."""

_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_tolerating = threading.Lock()


class ImageError(InputError):
    """An image file that yields no trustworthy pixels. The message is one line and contains the path."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[Path, str]]:
        return ImageError, (self.path, self.reason)


def read_image(
    path: str | Path, *, exif: ExifRule = "ignore", tolerate_truncated: bool = False, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """The pixels of an image file, `uint8` RGB of shape ``(H, W, 3)``.

    Grey becomes three equal channels, alpha is dropped without compositing, 16-bit values keep their high byte, floats
    must lie in 0..1, of several frames the first counts. The format is recognised by content, not by extension.

    Args:
        path: the file.
        exif: "ignore" as Pillow-based code does, or "apply" the orientation as `cv2.imread` does.
        tolerate_truncated: fill the missing rest of a truncated file with grey or black, as some published loaders do.
        max_pixels: larger images are refused before anything is allocated; at most `MAX_PIXELS`.

    Raises:
        ImageError: missing, unreadable, no image, truncated, too large, or of a pixel format without a known range.
    """
    try:
        return _decode(path, exif, max_pixels)
    except ImageError as error:
        if not (tolerate_truncated and isinstance(error.__cause__, OSError)):
            raise
    # Pillow's switch is global to the process, so it is on only while this one file is read again.
    with _tolerating:
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            return _decode(path, exif, max_pixels)
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False


def probe_size(path: str | Path, *, exif: ExifRule = "ignore", max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height that `read_image` would return, from the header alone.

    Raises:
        ImageError: missing, no image, or too large. Damage behind the header stays unseen.
    """
    with _quiet():
        image = _open(path, max_pixels)
        with image:
            width, height = image.size
            return (height, width) if exif == "apply" and _orientation(image) >= 5 else (width, height)


def _decode(path: str | Path, exif: ExifRule, max_pixels: int) -> np.ndarray:
    with _quiet():
        image = _open(path, max_pixels)
        with image:
            orientation = _orientation(image) if exif == "apply" else 1
            try:
                image.load()
                rgb = _to_rgb(image, path)
            except ImageError:
                raise
            except Exception as error:  # decoders raise whatever a damaged file drives them to
                raise ImageError(path, f"cannot be decoded ({_first_line(error)}); replace or remove it") from error
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    return np.array(rgb, dtype=np.uint8)


def _open(path: str | Path, max_pixels: int) -> Image.Image:
    try:
        status = os.stat(path)  # noqa: PTH116  (a str path stays as it is)
    except OSError as error:
        reasons = {errno.ENOENT: "no such file", errno.ELOOP: "a loop of symbolic links", errno.EACCES: "no permission"}
        raise ImageError(path, reasons.get(error.errno or 0, _first_line(error))) from None
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(path, "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
    if status.st_size == 0:
        raise ImageError(path, "the file is empty; fetch it again")
    try:
        image = Image.open(path, formats=_formats())
    except UnidentifiedImageError:
        raise ImageError(path, f"is not an image ({_beginning(path)}); replace or remove it") from None
    except Image.DecompressionBombError:
        raise ImageError(path, f"has more than {MAX_PIXELS:,} pixels; make it smaller") from None
    except PermissionError:
        raise ImageError(path, "no permission to read it") from None
    except Exception as error:  # as above: header parsers raise anything
        raise ImageError(path, f"cannot be opened ({_first_line(error)}); replace or remove it") from None
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        raise ImageError(path, f"has {width * height:,} pixels, the limit is {max_pixels:,}; make it smaller")
    return image


def _to_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if mode == "I":
        raise ImageError(path, "has 32-bit integer pixels of unknown range; save it with 8 or 16 bits")
    if mode == "F":
        values = np.asarray(image)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ImageError(path, "has floating-point pixels outside 0..1; save it with 8 bits")
        return Image.fromarray(np.rint(values * 255).astype(np.uint8)).convert("RGB")
    if mode in ("La", "RGBa"):
        image = image.convert("LA" if mode == "La" else "RGBA")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none or it cannot be parsed."""
    # Pillow turns TIFF pictures itself. Elsewhere only a block ahead of the pixels counts, as in OpenCV; Image.getexif
    # would decode a PNG to look behind them, and would read XMP.
    block = image.info.get("exif")
    if not block or image.format == "TIFF":
        return 1
    tags = Image.Exif()
    try:
        tags.load(block)
        orientation = tags.get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, struct.error, ValueError, KeyError, TypeError, IndexError, OSError):
        return 1
    return orientation if orientation in _TURNS else 1


@cache
def _formats() -> tuple[str, ...]:
    """The raster formats of this Pillow. Others, such as EPS, start outside programs."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


class _quiet(warnings.catch_warnings):  # noqa: N801
    """Pillow's remarks on size, palettes and broken EXIF must not become errors under ``-W error``."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")


def _beginning(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        start = file.read(24)
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it holds a web page, perhaps of a failed download"
    return f"it begins with {start[:12]!r}"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
