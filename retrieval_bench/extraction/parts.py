"""The finished pieces of an extraction that is still going on.

A part ``parts/00000.safetensors`` holds the descriptors of a run of whole batches, with their rows of the image list.
It appears whole, after the local features of the same images, so what a killed run leaves is a number of whole parts.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrieval_bench.extraction.feed import SkippedRow
from retrieval_bench.extraction.local_store import shard_path
from retrieval_bench.extraction.tensor_file import open_tensors, write_tensors


@dataclass
class Finished:
    """What the parts of a folder hold together.

    Attributes:
        parts: how many there are.
        rows: rows of the image list with a descriptor, in the order of the parts.
        skipped: rows that gave no pixels, and why.
        seconds: wall time they took.
    """

    parts: int = 0
    rows: list[int] = field(default_factory=list)
    skipped: list[SkippedRow] = field(default_factory=list)
    seconds: float = 0.0


def part_path(folder: Path, number: int) -> Path:
    """Where part `number` lies."""
    return folder / "parts" / f"{number:05d}.safetensors"


def write_part(
    folder: Path, number: int, rows: Sequence[int], descriptors: Tensor, skipped: Sequence[SkippedRow], seconds: float
) -> None:
    """Write part `number` with ``(n, D)`` descriptors of `rows`."""
    write_tensors(
        part_path(folder, number),
        {"rows": torch.tensor(rows, dtype=torch.int64), "descriptors": descriptors},
        {"skipped": json.dumps(list(skipped)), "seconds": repr(seconds)},
    )


def read_finished(folder: Path, *, local: bool) -> Finished:
    """The parts 0, 1, ... up to the first that is missing or damaged; everything after it is removed.

    Args:
        local: whether each part must have its local features.
    """
    found = Finished()
    while True:
        part = open_tensors(part_path(folder, found.parts))
        if part is None or (local and not _same_rows(part, folder, found.parts)):
            break
        found.rows += part.get_tensor("rows").tolist()
        metadata = part.metadata()
        found.skipped += [(row, reason) for row, reason in json.loads(metadata["skipped"])]
        found.seconds += float(metadata["seconds"])
        found.parts += 1
    for kept_in in (part_path(folder, 0).parent, shard_path(folder, 0).parent):
        for path in kept_in.glob("*"):
            if not path.stem.isdigit() or int(path.stem) >= found.parts:
                path.unlink()
    return found


def gather(folder: Path, parts: int, start: int, block: Tensor) -> None:
    """Fill `block` with those of the rows ``start .. start + len(block) - 1`` that the parts hold."""
    for number in range(parts):
        part = open_tensors(part_path(folder, number))
        inside = part.get_tensor("rows") - start
        here = (inside >= 0) & (inside < len(block))
        if bool(here.any()):
            block[inside[here]] = part.get_tensor("descriptors")[here]


def remove_parts(folder: Path) -> None:
    """Remove the parts once the store holds what they held."""
    shutil.rmtree(folder / "parts", ignore_errors=True)


def _same_rows(part: Any, folder: Path, number: int) -> bool:
    shard = open_tensors(shard_path(folder, number))
    return shard is not None and torch.equal(shard.get_tensor("rows"), part.get_tensor("rows"))
