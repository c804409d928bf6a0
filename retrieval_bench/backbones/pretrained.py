"""timm's extractors with the weights that timm fetches, all of them or an error."""

import logging
import re
from typing import Any

import timm

from retrieval_bench.backbones.hub import fetching, repository_of
from retrieval_bench.backbones.inspection import Architecture, one_line
from retrieval_bench.backbones.weights import spelled
from retrieval_bench.settings.errors import InputError

LOADER = "timm.models._builder"
"""The logger of timm that says which keys its weights lack: extractors are loaded without strictness, so that a network
may come out partly random, and nothing but this note tells."""


def create_body(
    name: str, architecture: Architecture, out_stages: tuple[int, ...], repository: str, *, fetched: bool
) -> Any:
    """timm's feature extractor.

    Args:
        name: as the user gave it.
        architecture: what `name` is.
        out_stages: stages counted from the end.
        repository: on the hub, of names that are there; else empty.
        fetched: whether with weights from the hub.

    Raises:
        InputError: weights that cannot be fetched, or do not fill the network.
    """
    arguments = {"features_only": True, "out_indices": out_stages, **architecture.creation, **architecture.extraction}
    if not fetched:
        return timm.create_model(architecture.name, **arguments)
    notes = Notes()
    logger = logging.getLogger(LOADER)
    level = logger.level
    logger.addFilter(notes)
    logger.setLevel(logging.INFO)
    try:
        with fetching(name, repository or repository_of(architecture.name)):
            body = timm.create_model(name if repository else architecture.name, pretrained=True, **arguments)
    except RuntimeError as error:
        raise _unfit(name, one_line(error)) from error
    finally:
        logger.setLevel(level)
        logger.removeFilter(notes)
    own = {spelled(key) for key in body.state_dict()}
    if random := [key for key in notes.missing if spelled(key) in own]:
        raise _unfit(name, f"{len(random)} missing: {', '.join(random[:6])}{' ...' if len(random) > 6 else ''}")
    return body


class Notes(logging.Filter):
    """Keeps the keys that timm notes as missing; only what the log would have shown without it passes."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: list[str] = []
        self.shown = logging.getLogger(LOADER).getEffectiveLevel()

    def filter(self, record: logging.LogRecord) -> bool:
        """Read a record; whether it is shown."""
        found = re.match(r"Missing keys \((.*?)\)", record.getMessage())
        if found:
            self.missing += found.group(1).split(", ")
        return record.levelno >= self.shown


def _unfit(name: str, reason: str) -> InputError:
    return InputError(
        f"the weights of {name!r} do not fit it with these options ({reason}); leave options out, or set "
        "backbone.pretrained=false"
    )
