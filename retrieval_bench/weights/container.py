"""What kind of file a weight file is, by its first bytes and not by its name, and what it is if it is none."""

import html
import re
import zipfile
from pathlib import Path
from typing import Literal

from retrieval_bench.settings.errors import InputError

Container = Literal["safetensors", "torch zip", "torch pickle"]

HEAD = 4096
"""Bytes that are looked at."""

PACKED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
    b"\x28\xb5\x2f\xfd": "zstandard",
}
FOREIGN = {b"\x89HDF": "an HDF5 file (Keras or TensorFlow)", b"\x93NUMPY": "a numpy array"}
AGAIN = "fetch it again"


def container_of(path: Path) -> Container:
    """The container of a weight file.

    Raises:
        InputError: the file is none: empty, a web page, a git-LFS pointer, an archive, text, or cut short.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    if not head:
        raise InputError(f"{path} is empty; {AGAIN}")
    if head.startswith(b"PK"):
        return _torch_zip(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 40:
        return "safetensors"
    if head.startswith(b"\x80"):
        return "torch pickle"
    raise InputError(f"{path} {_described(head)}")


def _torch_zip(path: Path) -> Container:
    """A zip archive as torch writes it; its checksums are compared, which torch itself leaves out."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            kinds = {name.partition("/")[2] for name in names}
            if "constants.pkl" in kinds:
                raise InputError(
                    f"{path} is a TorchScript program, which holds code; open it with torch.jit.load and save its "
                    "state_dict() with torch.save"
                )
            if "data.pkl" not in kinds:
                shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
                raise InputError(f"{path} is a zip archive of {shown or 'nothing'}; unpack it and give the weight file")
            # torch.serialization.set_crc32_options(False) writes zeros.
            broken = next((entry.filename for entry in archive.infolist() if entry.CRC and _broken(archive, entry)), "")
    except InputError:
        raise
    # Damaged bytes fail anywhere in the reader, with any exception.
    except Exception as error:
        raise InputError(f"{path} is damaged or cut short at {path.stat().st_size} bytes ({error}); {AGAIN}") from error
    if broken:
        raise InputError(f"{path} is damaged: the checksum of its part {broken} is wrong; {AGAIN}")
    return "torch zip"


def _broken(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Whether the content of `entry` differs from what was written."""
    try:
        with archive.open(entry) as content:
            while content.read(1 << 20):
                pass
    except (zipfile.BadZipFile, EOFError):
        return True
    return False


def _described(head: bytes) -> str:
    """What the first bytes of a file that holds no weights say of it, and what to do."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    opening = text[:200].lower()
    if text.startswith(b"version https://git-lfs"):
        size = re.search(rb"size (\d+)", text)
        real = f" of {int(size[1]) / 2**20:.0f} MiB" if size else ""
        return f"is a git-LFS pointer to the weights{real}, not the weights; run `git lfs pull` where it was cloned"
    if opening.startswith((b"<!doctype html", b"<html", b"<head", b"<!--")):
        title = re.search(rb"<title[^>]*>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
        named = f" ({_line(html.unescape(_text(title[1])))})" if title and title[1].strip() else ""
        return f"is a web page{named}, not weights; download the file itself, not the page that leads to it"
    if opening.startswith(b"<?xml"):
        return "is an XML page, such as a server's error message, not weights; download it again"
    for mark, name in PACKED.items():
        if head.startswith(mark):
            return f"is a {name} archive; unpack it and give the weight file"
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it and give the weight file"
    for mark, name in FOREIGN.items():
        if head.startswith(mark):
            return f"is {name}, not a torch or safetensors file; convert it with the library that wrote it"
    try:
        # A cut in the middle of a character is no reason to take text for something else.
        shown = head.decode("utf-8") if len(head) < HEAD else head[:-4].decode("utf-8", "ignore")
        if shown.isprintable() or all(letter.isprintable() or letter.isspace() for letter in shown):
            return f"is a text file that begins {_line(shown)!r}, not weights; {AGAIN}"
    except UnicodeDecodeError:
        pass
    return f"is neither a torch nor a safetensors file, or a damaged one (it begins {head[:8].hex(' ')}); {AGAIN}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _line(text: str) -> str:
    """The beginning of a text as one line."""
    words = " ".join(text.split())
    return words if len(words) <= 60 else f"{words[:57]}..."
