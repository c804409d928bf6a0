"""Where a converted weight file came from; it travels in the file's metadata."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retrieval_bench.settings.errors import InputError

PROVENANCE = "retrieval_bench.provenance"
"""The metadata entry of a converted file."""


@dataclass(frozen=True)
class Provenance:
    """The conversion of one file.

    Attributes:
        source: name of the file that was converted.
        sha256: of that file.
        format: in which it was.
        date: of the conversion, UTC, ISO 8601.
        version: of this package.
        trained_on: the training set, as far as that file told.
        unused: tensors of that file that were left behind -> why.
        absent: tensors of the network that it did not hold; a model that loads the result draws them anew.
        earlier: of the source, where it was a converted file itself.
    """

    source: str
    sha256: str
    format: str
    date: str
    version: str
    trained_on: str
    unused: dict[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    earlier: "Provenance | None" = None

    @property
    def original(self) -> "Provenance":
        """The first conversion: the one that tells the published file."""
        return self if self.earlier is None else self.earlier.original

    def to_json(self) -> str:
        """As stored in the metadata."""
        return json.dumps(dataclasses.asdict(self))


def read_provenance(extra: dict[str, Any], path: Path) -> Provenance | None:
    """The provenance among a file's entries; None where it was never converted.

    Raises:
        InputError: the entry is damaged.
    """
    if PROVENANCE not in extra:
        return None
    try:
        return _from_dict(json.loads(extra[PROVENANCE]))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"the entry {PROVENANCE!r} of {path} is damaged; convert the weights again") from error


def _from_dict(content: dict[str, Any]) -> Provenance:
    earlier = content.get("earlier")
    return Provenance(
        **{name: str(content[name]) for name in ("source", "sha256", "format", "date", "version", "trained_on")},
        unused={str(key): str(reason) for key, reason in content["unused"].items()},
        absent=tuple(str(key) for key in content["absent"]),
        earlier=None if earlier is None else _from_dict(earlier),
    )
