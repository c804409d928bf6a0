"""Image files below a folder."""

import os
from pathlib import Path

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif", ".jp2"}
)
"""In lower case; files are found in any case."""


def image_files(folder: Path) -> list[Path]:
    """All image files below `folder`, sorted by their path, names that begin with a dot left out.

    Links to folders are followed, each real folder once, so that loops end. A folder called ``x.jpg`` is a folder. A
    link that leads nowhere is listed: whoever reads it gets the error.
    """
    found: list[Path] = []
    visited: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:  # noqa: PTH122
                found.append(Path(place, name))
    return sorted(found, key=lambda path: path.relative_to(folder).parts)
