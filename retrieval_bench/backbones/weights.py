"""Weights of a backbone from a file: every tensor is used, or named with the reason why not."""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from retrieval_bench.backbones.own_checkpoint import backbone_inside
from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.reading import WeightFile

CLASSIFIERS = ("fc.", "head.", "head_dist.", "classifier.")
CIRTORCH = {"0.": "conv1.", "1.": "bn1.", "4.": "layer1.", "5.": "layer2.", "6.": "layer3.", "7.": "layer4."}
"""ResNet positions in the bare ``nn.Sequential`` of cirtorch's Caffe-derived ImageNet files."""


Reader = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""From a state dict of some other form to one in a network's own keys and shapes."""


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file meet those of a network: by the network's keys, and by those of the file."""

    given: dict[str, Tensor]
    unused: dict[str, str]
    missing: list[str]
    unexpected: list[str]
    misshaped: list[str]

    def complaint(self) -> str:
        """What is wrong, tensor by tensor; empty where all is well."""
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "misshaped": self.misshaped}
        return "; ".join(
            f"{len(keys)} {what}: {', '.join(keys[:6])}{' ...' if len(keys) > 6 else ''}"
            for what, keys in kinds.items()
            if keys
        )


def load_backbone_weights(
    body: nn.Module, file: WeightFile, later: Collection[str] = (), reader: Reader | None = None
) -> dict[str, str]:
    """Copy a timm or torchvision state dict, or the backbone of our checkpoints, into a feature extractor, in place.

    Args:
        body: timm's ``features_only`` module.
        file: that was read.
        later: keys of the whole timm model; those beyond the last requested stage may be in the file.
        reader: what translates a file that does not fit as it is: other keys, position embeddings of another size.

    Returns:
        tensor of the file -> why it is not used.

    Raises:
        InputError: tensors that are missing, unexpected or of another shape.
    """
    state = sequential_to_resnet(backbone_inside(file.state))
    fit = fitted(body.state_dict(), state, later)
    dropped: dict[str, str] = {}
    if fit.complaint() and reader is not None and (read := translated(state, reader)) is not None:
        # A translation that does not fit either would hide what is wrong with the file itself.
        again = fitted(body.state_dict(), read, later)
        if not again.complaint():
            kept = {id(value) for value in read.values()}
            changed = {key for key, value in state.items() if key not in read and id(value) not in kept}
            dropped = dict.fromkeys(changed, "merged, split or left out by timm's reader for this architecture")
            fit = again
    if fit.complaint():
        raise InputError(f"{file.path} does not fit the backbone: {fit.complaint()}; check backbone.weights")
    body.load_state_dict(fit.given, strict=False)
    return {**dropped, **fit.unused}


def fitted(own: Mapping[str, Tensor], state: Mapping[str, Tensor], later: Collection[str]) -> Fit:
    """Match the tensors of a file with those of a network, whatever the spelling of their keys."""
    names = {spelled(key): key for key in own}
    whole = {spelled(key) for key in later}
    unused, unexpected, misshaped, given = {}, [], {}, {}
    for key, value in state.items():
        name = names.get(spelled(key))
        if name is not None and own[name].shape == value.shape:
            given[name] = value
        elif name is not None:
            misshaped[name] = f"{key} {tuple(value.shape)} for {tuple(own[name].shape)}"
        elif key.startswith(CLASSIFIERS):
            unused[key] = "classifier of the pre-training"
        elif spelled(key) in whole:
            unused[key] = "beyond the last stage in use"
        else:
            unexpected.append(key)
    met = {*given, *misshaped}
    missing = [key for key in own if key not in met and not key.endswith("num_batches_tracked")]
    return Fit(given, unused, missing, unexpected, list(misshaped.values()))


def timms_reader(whole: nn.Module) -> Reader | None:
    """timm's own translation of the files that a model's authors published; None for families without one.

    Args:
        whole: the timm model, which may be without values.
    """
    translate = getattr(sys.modules[type(whole).__module__], "checkpoint_filter_fn", None)
    return None if translate is None else lambda state: translate(dict(state), whole)


def translated(state: dict[str, Tensor], reader: Reader) -> dict[str, Tensor] | None:
    """What `reader` makes of a file; None where the file is none that it knows."""
    try:
        return {key: value for key, value in reader(state).items() if isinstance(value, Tensor)}
    # Readers look tensors up by name and reshape them without a check.
    except Exception:
        return None


def spelled(key: str) -> str:
    """One spelling of a key: timm's extractors write ``stem_0`` for ``stem.0`` and may stand in a ``model.``."""
    return key.removeprefix("model.").replace(".", "_")


def sequential_to_resnet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys ``0.weight`` .. ``7.2.bn3.bias`` of cirtorch's ImageNet files as torchvision's; others as they are."""
    if not all(key.startswith(tuple(CIRTORCH)) for key in state):
        return state
    return {CIRTORCH[key[:2]] + key[2:]: value for key, value in state.items()}
