"""Pictures for the page: read as the run read them, made small, embedded as JPEG in base64."""

import base64
import io
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageOps

from retrieval_bench.settings.protocol import Protocol

Box = tuple[float, float, float, float]
_ORIENTATION_TAG = 0x0112
_TURNED_BY_A_QUARTER = (5, 6, 7, 8)


class UnreadablePictureError(Exception):
    """A picture of the gallery that is gone or broken; the message is what the page says in its place."""


class Pictures:
    """Reads the pictures of one run.

    Args:
        folder: of the run; paths in the gallery that are not absolute are looked for in the working folder, then here.
        protocol: of the run; its EXIF rule and crop rounding give the pixels that boxes and keypoints refer to.
    """

    def __init__(self, folder: Path, protocol: Protocol) -> None:
        self._folder = folder
        self._protocol = protocol
        self._embedded: dict[tuple[str, int], str] = {}

    def read(self, path: str, longest: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
        """The picture as RGB with its longer side at most `longest`, and its whole (width, height) before that.

        Raises:
            UnreadablePictureError: the file is gone or no picture.
        """
        place = Path(path) if Path(path).is_file() else self._folder / path
        if not place.is_file():
            raise UnreadablePictureError("image file gone")
        try:
            with Image.open(place) as opened:
                width, height = opened.size
                orientation = opened.getexif().get(_ORIENTATION_TAG, 1)
                if longest is not None:
                    opened.draft("RGB", (longest, longest))
                picture = ImageOps.exif_transpose(opened) if self._protocol.exif == "apply" else opened
                picture = picture.convert("RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UnreadablePictureError("image file unreadable") from error
        if self._protocol.exif == "apply" and orientation in _TURNED_BY_A_QUARTER:
            width, height = height, width
        if longest is not None:
            picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return picture, (width, height)

    def thumbnail(self, path: str, longest: int) -> str:
        """A data URI of the picture made small.

        Raises:
            UnreadablePictureError: as `read`.
        """
        key = (path, longest)
        if key not in self._embedded:
            self._embedded[key] = data_uri(self.read(path, longest)[0])
        return self._embedded[key]

    def boxed(self, path: str, box: Box | None, longest: int) -> str:
        """A data URI of the whole picture made small, with `box` (pixels of the whole picture) drawn on it.

        Raises:
            UnreadablePictureError: as `read`.
        """
        picture, (width, height) = self.read(path, longest)
        if box is not None:
            across, down = picture.width / width, picture.height / height
            x0, y0 = box[0] * across, box[1] * down
            x1, y1 = max(x0, box[2] * across - 1), max(y0, box[3] * down - 1)
            draw = ImageDraw.Draw(picture)
            # Dark beside light: visible on any ground, and in grey.
            draw.rectangle((x0, y0, x1, y1), outline="black", width=4)
            draw.rectangle((x0 + 1, y0 + 1, max(x0 + 1, x1 - 1), max(y0 + 1, y1 - 1)), outline="white", width=2)
        return data_uri(picture)

    def crop(self, path: str, box: Box | None) -> Image.Image:
        """The part of the picture inside `box` at full size, in the pixels that query keypoints refer to.

        Raises:
            UnreadablePictureError: as `read`.
        """
        picture, _ = self.read(path)
        if box is None:
            return picture
        to_pixel = round if self._protocol.crop_rounding == "round" else int
        x0, y0, x1, y1 = (to_pixel(edge) for edge in box)
        return picture.crop((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))


def data_uri(picture: Image.Image, quality: int = 80, kind: Literal["JPEG"] = "JPEG") -> str:
    """The picture as `data:image/jpeg;base64,...`."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
