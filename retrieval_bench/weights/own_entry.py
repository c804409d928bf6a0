"""What a checkpoint of ours says of itself, beside its tensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.normalisation import Normalisation

OWN = "retrieval_bench"
"""The entry of our own checkpoints: JSON with the method's name and its constructor arguments."""


def entry_of(method: str, settings: Mapping[str, Any], trained_on: str, normalisation: Normalisation) -> str:
    """The entry as it is stored; `own_entry` reads it."""
    entry = {"method": method, "settings": settings, "trained_on": trained_on, "normalisation": normalisation.plain()}
    return json.dumps(entry)


def own_entry(extra: Mapping[str, Any], path: Path) -> dict[str, Any] | None:
    """Read the entry of a file.

    Args:
        extra: what the file holds beside its tensors.
        path: of the file, for errors.

    Returns:
        method, settings, trained_on and normalisation, which is a `Normalisation`, or None where the file is from
        before it was stored; None for a file that is no checkpoint of ours.

    Raises:
        InputError: the entry is damaged.
    """
    if OWN not in extra:
        return None
    try:
        own: dict[str, Any] = json.loads(extra[OWN])
        read = {key: own[key] for key in ("method", "settings", "trained_on")}
        stored = own.get("normalisation")
        source = "" if stored is None else str(stored.pop("source"))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"the entry {OWN!r} of {path} is damaged; train or convert the weights again") from error
    where = f"normalisation, in the entry {OWN!r} of {path},"
    return {**read, "normalisation": None if stored is None else Normalisation.read(stored, where, source)}
