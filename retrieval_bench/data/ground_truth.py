"""Ground truth of the revisited sets, read from its pickle without executing anything.

The official ``gnd_*.pkl`` files hold dicts, lists, strings and numbers only, so their unpickler admits no global at
all. Copies that were saved again may hold numpy arrays; then the few names that arrays need are admitted, and nothing
else.
"""

import hashlib
import io
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.dataset import Box, GroundTruth

LARGEST = 256 * 2**20
"""Bytes beyond which a file is no ground truth of these sets (the official ones are below 0.3 MB)."""

ARRAY_NAMES = frozenset(
    {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.core.numeric", "_frombuffer"),
        ("_codecs", "encode"),
        ("__builtin__", "bytes"),
    }
)
"""What a pickled numpy array of numbers or strings refers to, over numpy 1 and 2 and pickle protocols 2 to 5."""


@dataclass(frozen=True)
class RevisitedGroundTruth:
    """The content of a ``gnd_*.pkl``.

    Attributes:
        queries, database: image stems, without folder and extension, in the file's order.
        boxes: of the queries.
        entries: per query `bbx`, `easy`, `hard`, `junk`.
        sha256: of the file.
    """

    queries: list[str]
    database: list[str]
    boxes: list[Box]
    entries: GroundTruth
    sha256: str


def read_ground_truth(path: Path) -> RevisitedGroundTruth:
    """Read and check a ground-truth file in the Revisited format.

    Raises:
        InputError: no such file, a pickle that asks for code, or a content of another form.
    """
    if not path.is_file():
        raise InputError(f"ground truth {path} does not exist")
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes, too many for a ground-truth file; fetch it again")
    content = path.read_bytes()
    tree = _unpickle(content, path)
    try:
        found = _check(tree)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is not in the Revisited ground-truth format ({reason}); fetch it again") from error
    return RevisitedGroundTruth(*found, sha256=hashlib.sha256(content).hexdigest())


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, allowed: frozenset[tuple[str, str]]):
        super().__init__(io.BytesIO(content))
        self.allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise _RefusedError(module, name)
        return _empty_bytes if name == "bytes" else super().find_class(module, name)


def _empty_bytes() -> bytes:
    """All that protocol 2 calls `bytes` for; with an argument it could ask for any amount of memory."""
    return b""


class _RefusedError(Exception):
    def __init__(self, module: str, name: str):
        super().__init__(module, name)
        self.asked = (module, name)


def _unpickle(content: bytes, path: Path) -> Any:
    try:
        try:
            return _Unpickler(content, frozenset()).load()
        except _RefusedError as refused:
            if refused.asked not in ARRAY_NAMES:
                raise
            return _Unpickler(content, ARRAY_NAMES).load()
    except _RefusedError as refused:
        asked = ".".join(refused.asked)
        raise InputError(f"{path} asks to load {asked}, which ground truth never needs; do not trust it") from None
    except Exception as error:  # a damaged pickle raises anything
        lines = str(error).splitlines() or [type(error).__name__]
        raise InputError(f"{path} is not a readable pickle ({lines[0]}); fetch it again") from error


def _check(tree: Any) -> tuple[list[str], list[str], list[Box], GroundTruth]:
    if not isinstance(tree, Mapping):
        raise ValueError(f"it holds a {type(tree).__name__}, not a dict")
    database, queries = _stems(tree["imlist"]), _stems(tree["qimlist"])
    gnd = list(tree["gnd"])
    if len(gnd) != len(queries):
        raise ValueError(f"{len(gnd)} entries for {len(queries)} queries")
    boxes: list[Box] = []
    entries: GroundTruth = []
    for query, entry in zip(queries, gnd, strict=True):
        box = [float(value) for value in entry["bbx"]]
        if len(box) != 4 or not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError(f"query {query!r} has the box {box}")
        levels = {level: _rows(entry[level], len(database), query, level) for level in ("easy", "hard", "junk")}
        if sum(map(len, levels.values())) != len(set().union(*levels.values())):
            raise ValueError(f"query {query!r} lists a database image twice")
        boxes.append((box[0], box[1], box[2], box[3]))
        entries.append({"bbx": box, **levels})  # type: ignore[dict-item]
    return queries, database, boxes, entries


def _stems(values: Any) -> list[str]:
    stems = [str(value) for value in values]
    for stem in stems:
        if not stem or stem in (".", "..") or "/" in stem or "\\" in stem or "\0" in stem:
            raise ValueError(f"{stem!r} is not an image name")
    return stems


def _rows(values: Any, database: int, query: str, level: str) -> list[int]:
    rows = [int(value) for value in values]
    if any(row != value for row, value in zip(rows, values, strict=True)):
        raise ValueError(f"query {query!r} has a {level} row that is not whole")
    outside = next((row for row in rows if not 0 <= row < database), None)
    if outside is not None:
        raise ValueError(f"query {query!r} lists row {outside} as {level} of {database} images")
    return rows
