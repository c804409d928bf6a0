"""What to say of a key that is no setting."""

from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from retrieval_bench.settings.errors import alike, nearest
from retrieval_bench.settings.run import RunSettings

CALLED_OTHERWISE = MappingProxyType(
    {
        "dim": ("model.dim",),
        "size": ("train.image_size", "extract.image_size"),
        "learning_rate": ("train.lr",),
        "num_workers": ("runtime.workers",),
        "device": ("runtime.accelerator",),
        "top_k": ("search.k",),
    }
)
"""Names that other tools have for our settings."""

OF_MAKE = MappingProxyType(
    {
        "METHOD": "method={value}",
        "DATASET": "dataset={value}",
        "BACKBONE": "backbone={value}",
        "POOLING": "pooling={value}",
        "LOSS": "loss={value}",
        "WEIGHTS": "weights={value}",
        "RERANK": "rerank={value}",
        "FREEZE": "train.freeze={value}",
        "SET": "{value}",
        "METHODS": 'compare --methods "{value}"',
        "FILE": "study {value}",
        "RUN": "evaluate {value}, or report {value}",
        "WORKERS": "study FILE --workers {value}",
        "ENGINE": "study FILE --engine {value}",
    }
)
"""The Makefile's variables, as they are written without make."""


def unknown_key(location: Sequence[str], value: Any) -> str:
    """The sentence on a key that is no setting, with what may have been meant.

    Args:
        location: the key, section by section.
        value: that was given for it.
    """
    key, name = ".".join(location), location[-1]
    if key in OF_MAKE:
        return f"{key} is a variable of make; on the command line write {OF_MAKE[key].format(value=value)}"
    section = list(location[:-1])
    places = list(_settings(RunSettings, ()))
    here = [".".join([*section, one]) for one in _section(section).model_fields]
    meant = [one for one in CALLED_OTHERWISE.get(name, ()) if not section or one.startswith(f"{section[0]}.")]
    meant += [place for place in places if place.rpartition(".")[2] == name and place not in meant]
    if not meant and not section and not alike(name, here):
        meant = [place for place in places if alike(name, [place.rpartition(".")[2]])]
    if meant:
        found = f"unknown setting {key!r}; did you mean {' or '.join(repr(one) for one in meant[:3])}?"
    else:
        found = f"{nearest(key, here, noun='setting')};"
    return f"{found} `retrieval-bench list settings` shows all"


def _section(names: Sequence[str]) -> type[BaseModel]:
    model: type[BaseModel] = RunSettings
    for name in names:
        below = model.model_fields[name].annotation
        assert isinstance(below, type)
        assert issubclass(below, BaseModel)
        model = below
    return model


def _settings(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[str]:
    """Every setting by its full key."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, (*above, name))
        else:
            yield ".".join((*above, name))
