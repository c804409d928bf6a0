"""The backbone inside a checkpoint of a whole method, for `backbone.weights`."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.weights.own_entry import OWN, own_entry
from retrieval_bench.weights.reading import WeightFile, read_weights

PLACES = ("backbone.body.", "backbone.")
"""Where checkpoints of ours keep it: timm's module inside its adapter, or a network of our own."""


def backbone_inside(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the backbone in a checkpoint of ours; those of other files as they are.

    A checkpoint is ours where its tensors stand below ``backbone.`` and not only they: pooling, projection, loss and
    further branches, momentum copies of the backbone among them, are left out.
    """
    for place in PLACES:
        inside = {key.removeprefix(place): value for key, value in state.items() if key.startswith(place)}
        if inside:
            return inside
    return state


def is_own(file: WeightFile) -> bool:
    """Whether a file is a checkpoint of ours, or its tensors alone."""
    return OWN in file.extra or any(key.startswith(PLACES[0]) for key in file.state)


def trained_with(file: WeightFile) -> Normalisation | None:
    """What a checkpoint of ours was trained with; None for other files, and where it was saved without saying so."""
    own = own_entry(file.extra, file.path)
    if own is None or own["normalisation"] is None:
        return None
    return replace(own["normalisation"], source=f"{file.path.name}, a checkpoint of {own['method']}")


def trained_with_of(path: str | Path) -> Normalisation | None:
    """As `trained_with`, of a path; None also for a file of a form that only its backbone reads."""
    try:
        file = read_weights(path, "backbone.weights=")
    except InputError:
        return None
    return trained_with(file)
