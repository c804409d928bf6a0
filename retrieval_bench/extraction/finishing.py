"""From the parts of an extraction to a finished store."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from retrieval_bench.extraction.local_store import OFFSETS, shard_path, write_offsets
from retrieval_bench.extraction.parts import Finished, gather, part_path, remove_parts
from retrieval_bench.extraction.store import DTYPES, FORMAT, file_digest, write_json
from retrieval_bench.extraction.tensor_file import open_tensors, write_tensors
from retrieval_bench.settings.protocol import Protocol

SHARD_BYTES = 1 << 27
"""Size of a finished descriptor shard, roughly: what finishing holds in memory at a time."""


def finish_store(
    folder: Path,
    names: Sequence[str],
    finished: Finished,
    *,
    key: str,
    key_parts: Mapping[str, str],
    protocol: Protocol,
    scales: Sequence[float],
    dtype: str,
    local: bool,
) -> None:
    """Write the shards in the order of the image list and, last, the manifest.

    Every row is either in `finished.rows` or in `finished.skipped`; the rows of the latter become NaN.

    Args:
        folder: of the unfinished store, with its parts.
        names: of all rows.
        finished: what the parts hold.
        key, key_parts: of the store.
        protocol, scales, dtype, local: how it was made.
    """
    dim = open_tensors(part_path(folder, 0)).get_slice("descriptors").get_shape()[1]
    per_shard = max(1, SHARD_BYTES // (dim * DTYPES[dtype].itemsize))
    shards = []
    for number, start in enumerate(range(0, len(names), per_shard)):
        block = torch.full((min(per_shard, len(names) - start), dim), torch.nan, dtype=DTYPES[dtype])
        gather(folder, finished.parts, start, block)
        path = folder / f"descriptors-{number:05d}.safetensors"
        write_tensors(path, {"descriptors": block})
        shards.append(_entry(folder, path) | {"start": start, "count": len(block), "sha256": file_digest(path)})
    if local:
        write_offsets(folder, len(names), finished.parts)
    write_json(folder / "names.json", list(names))
    write_json(folder / "costs.json", {"seconds": finished.seconds})
    content = {
        "format": FORMAT,
        "key": key,
        "key_parts": dict(key_parts),
        "protocol": protocol.model_dump(mode="json"),
        "scales": list(scales),
        "dtype": dtype,
        "count": len(names),
        "dim": dim,
        "shards": shards,
        "skipped": [{"row": row, "name": names[row], "reason": reason} for row, reason in sorted(finished.skipped)],
        "local": _local_entries(folder, finished.parts) if local else None,
    }
    write_json(folder / "manifest.json", content)


def publish(unfinished: Path, folder: Path) -> None:
    """Give a folder whose manifest is written its final name; a damaged store in its place goes."""
    remove_parts(unfinished)
    remove_all(folder)
    unfinished.replace(folder)


def remove_all(folder: Path) -> None:
    """Remove what is left in the folder of a store, and the folder."""
    shutil.rmtree(folder, ignore_errors=True)


def _local_entries(folder: Path, parts: int) -> dict[str, Any]:
    paths = [shard_path(folder, number) for number in range(parts)]
    return {"shards": [_entry(folder, path) for path in [*paths, folder / OFFSETS]]}


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    return {"file": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size}


def is_written(folder: Path) -> bool:
    """Whether the manifest, which comes last, is there and whole."""
    try:
        return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["format"] == FORMAT
    except (OSError, ValueError, KeyError):
        return False
