"""The backbone inside a checkpoint of a whole method, for `backbone.weights`."""

from torch import Tensor

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
