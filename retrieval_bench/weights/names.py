"""Names of tensors behind the wrappers of parallel and compiled training."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from retrieval_bench.settings.errors import InputError

PREFIXES = ("module.", "_orig_mod.")
"""What ``DistributedDataParallel`` and ``torch.compile`` put before a name."""


def bare(key: str) -> str:
    """A name without the wrappers in front of it: ``module._orig_mod.conv1.weight`` -> ``conv1.weight``."""
    while key.startswith(PREFIXES):
        key = key.removeprefix(PREFIXES[0]).removeprefix(PREFIXES[1])
    return key


def bare_inside(keys: Iterable[str]) -> dict[str, str]:
    """Name -> name without a wrapper around one part: ``globalmodel.module.stem.bias`` -> ``globalmodel.stem.bias``.

    A part counts as wrapped where all of its tensors are, so that a layer that is merely called ``module`` keeps its
    name.
    """
    names = {key: key for key in keys}
    while True:
        parts: dict[str, list[str]] = {}
        for key, name in names.items():
            parts.setdefault(name.partition(".")[0], []).append(key)
        wrapped = {
            key: f"{part}.{bare(names[key].partition('.')[2])}"
            for part, members in parts.items()
            if all(names[key].partition(".")[2].startswith(PREFIXES) for key in members)
            for key in members
        }
        if not wrapped:
            return names
        names |= wrapped


def rename(state: Mapping[str, Tensor], names: Mapping[str, str], source: object) -> dict[str, Tensor]:
    """The tensors of `state` under their new names.

    Args:
        state: tensors by name.
        names: name -> new name, for every tensor.
        source: the file, for the error.

    Raises:
        InputError: two tensors would share a name.
    """
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if names[key] in renamed:
            raise InputError(f"{source} holds {names[key]} twice, with and without a wrapper's prefix; keep one")
        renamed[names[key]] = value
    return renamed
