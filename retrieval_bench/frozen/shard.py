"""One file of a feature store: whole batches, and what is to be known of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from retrieval_bench.extraction.feed import SkippedRow
from retrieval_bench.extraction.tensor_file import open_tensors, write_tensors
from retrieval_bench.settings.errors import InputError

ABOUT = "about"


@dataclass(frozen=True)
class Batch:
    """Images that passed through the backbone together.

    Attributes:
        rows: of the image list.
        scales: at which their features are there.
        fed: height and width of the images at scale 1.
        forms: ``<level>/<map>`` -> its `form.Stored`.
    """

    rows: list[int]
    scales: list[float]
    fed: tuple[int, int]
    forms: dict[str, Sequence[str]]


@dataclass
class About:
    """What a shard says of its tensors.

    Attributes:
        batches: in order; tensors are named ``<number>/<level>/<map>``.
        skipped: rows that gave no pixels, and why.
        seconds: wall time it took.
    """

    batches: list[Batch] = field(default_factory=list)
    skipped: list[SkippedRow] = field(default_factory=list)
    seconds: float = 0.0


def shard_name(number: int) -> str:
    """The file name of shard `number`."""
    return f"features-{number:05d}.safetensors"


def write_shard(path: Path, tensors: dict[str, Tensor], content: About) -> None:
    """Write a shard, whole or not at all."""
    write_tensors(path, tensors, {ABOUT: json.dumps(asdict(content))})


def about(opened: Any) -> About:
    """What an opened shard says of itself.

    Raises:
        InputError: nothing that can be read.
    """
    try:
        content = json.loads(opened.metadata()[ABOUT])
        batches = [Batch(**{**batch, "fed": tuple(batch["fed"])}) for batch in content["batches"]]
        return About(batches, [(row, reason) for row, reason in content["skipped"]], content["seconds"])
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"a feature shard does not say what it holds ({error}); delete its folder") from error


def written_shards(folder: Path) -> list[About]:
    """What the whole shards of an unfinished store hold, in order."""
    found: list[About] = []
    while (opened := open_tensors(folder / shard_name(len(found)))) is not None:
        found.append(about(opened))
    return found
