"""Archives from the network to files, without leaving the folder."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from retrieval_bench.settings.errors import InputError

LARGEST = 64 * 2**30
"""The most bytes that one archive may unpack to."""

Choose = Callable[[PurePosixPath], str | None]
"""From a member's path in the archive to the file name under which it is kept, None to leave it out."""


def unpack(archive: Path, folder: Path, choose: Choose, *, largest: int = LARGEST) -> list[str]:
    """Unpack the chosen regular files of a tar (any compression) or zip archive straight into `folder`.

    The archive is refused as a whole if any member, chosen or not, is a link or a device, is absolute or contains
    ``..``; files written before such a member stay, so unpack into a folder of its own.

    Args:
        archive: the file.
        folder: made if missing.
        choose: which members are kept, and how they are called.
        largest: the most bytes to write.

    Returns:
        The names written, in the archive's order.

    Raises:
        InputError: no archive, a damaged one, an unsafe member, or too much content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    left = largest
    try:
        for path, size, stream in _members(archive):
            name = choose(path)
            if name is None or stream is None:
                continue
            if name != PurePosixPath(name).name or name in ("", ".", ".."):
                raise InputError(f"{archive}: {name!r} is not a plain file name")
            left -= size
            if left < 0:
                raise InputError(f"{archive} unpacks to more than {largest:,} bytes; it is not what it should be")
            with (folder / name).open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
                if file.tell() != size:
                    raise InputError(f"{archive}: {path} is cut off; remove the archive and fetch it again")
            written.append(name)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise InputError(f"{archive} is damaged or no archive ({error}); remove it and fetch it again") from error
    return written


def _members(archive: Path) -> Iterator[tuple[PurePosixPath, int, IO[bytes] | None]]:
    """Every member's path, size and content (None for folders)."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _unsafe(archive, entry.filename, "is a link or a device")
                path = _safe(archive, entry.filename)
                if entry.is_dir():
                    yield path, 0, None
                    continue
                with zipped.open(entry) as stream:
                    yield path, entry.file_size, stream
        return
    with tarfile.open(archive, mode="r|*") as tarred:
        for member in tarred:
            if not (member.isreg() or member.isdir()):
                raise _unsafe(archive, member.name, "is a link or a device")
            yield _safe(archive, member.name), member.size, tarred.extractfile(member)


def _safe(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise _unsafe(archive, name, "lies outside the folder")
    return path


def _unsafe(archive: Path, name: str, why: str) -> InputError:
    return InputError(f"{archive} is refused: its member {name!r} {why}")
