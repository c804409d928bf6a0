"""The rows of a study: every combination of its grid, less what is excluded, and what is included beside it."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.loading import PARTS, nested
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.settings.unknown_key import unknown_key
from retrieval_bench.studies.definition import Study

BESIDE = "row"
"""The column that names rows which set more than the grid varies."""

_FREE = (*PARTS, "model")
"""Sections whose keys belong to a part, `name` among them."""


@dataclass(frozen=True)
class Row:
    """One row of a study's table: what is run once per seed.

    Attributes:
        labels: what the row says in each column, by dimension.
        layers: the settings that it lays over the common ones, nested.
    """

    labels: Mapping[str, str]
    layers: tuple[Mapping[str, Any], ...]

    @property
    def title(self) -> str:
        """The row in one line."""
        return ", ".join(label for label in self.labels.values() if label)


@dataclass(frozen=True)
class _Value:
    label: str
    layers: tuple[Mapping[str, Any], ...]


def rows(study: Study) -> list[Row]:
    """The rows in the order of the table; the last dimension changes fastest.

    Raises:
        InputError: a value without a name where it needs one, two values of one name, or an exclusion that names no
            dimension or no value of it.
    """
    grid = {name: _values(name, values) for name, values in study.grid.items()}
    excluded = [_exclusion(one, grid) for one in study.exclude]
    made = []
    for combination in itertools.product(*grid.values()) if grid else ():
        labels = dict(zip(grid, (value.label for value in combination), strict=True))
        if not any(all(labels[name] in names for name, names in one.items()) for one in excluded):
            made.append(Row(labels, tuple(layer for value in combination for layer in value.layers)))
    made += [_included(one, grid) for one in study.include]
    if any(BESIDE in row.labels for row in made):
        made = [Row({**row.labels, BESIDE: row.labels.get(BESIDE, "")}, row.layers) for row in made]
    if not made:
        raise InputError(f"study {study.name!r}: exclude leaves no row")
    return made


def settings_layers(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Settings with dotted keys, as layers for `merge_all`."""
    return [nested(key, value) for key, value in values.items()]


def label(value: Any, key: str = "") -> str:
    """How a value of a setting reads in a table."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        options = [f"{name}={label(option)}" for name, option in value.items() if name != "name"]
        return " ".join([*([label(value["name"])] if "name" in value else []), *options]) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(label(item) for item in value)
    return str(value)


def is_setting(key: str) -> bool:
    """Whether a name is, or lies below, a section or setting of a run."""
    return key.partition(".")[0] in RunSettings.model_fields


def _values(name: str, values: Sequence[Any]) -> list[_Value]:
    if not values:
        raise InputError(f"grid {name!r} has no values; give a list such as [a, b]")
    found = [_value(name, value) for value in values]
    labels = [value.label for value in found]
    twice = next((one for one in labels if labels.count(one) > 1), None)
    if twice is not None:
        raise InputError(f"grid {name!r} holds {twice!r} twice; take one out, or give its settings another name")
    return found


def _value(name: str, value: Any) -> _Value:
    several = isinstance(value, Mapping) and "name" in value
    if not is_setting(name):
        if not several:
            known = unknown_key([name.partition(".")[0]], label(value))
            raise InputError(
                f"grid: {known}; a name of your own needs values such as {{name: small, model.dim: 128}}, got "
                f"{label(value)!r}"
            )
        rest = {key: part for key, part in value.items() if key != "name"}
        return _Value(str(value["name"]), tuple(settings_layers(rest)))
    if several and name.partition(".")[0] not in _FREE:
        rest = {f"{name}.{key}": part for key, part in value.items() if key != "name"}
        return _Value(str(value["name"]), tuple(settings_layers(rest)))
    return _Value(label(value), (nested(name, value),))


def _exclusion(one: Mapping[str, Any], grid: Mapping[str, list[_Value]]) -> dict[str, set[str]]:
    if not one:
        raise InputError("exclude: an empty entry would leave out everything; name what is left out")
    names = {}
    for name, given in one.items():
        if name not in grid:
            raise InputError(f"exclude: {nearest(name, grid, noun='dimension of the grid')}")
        known = {value.label for value in grid[name]}
        wanted = {label(value) for value in (given if isinstance(given, list) else [given])}
        if wanted - known:
            raise InputError(f"exclude: {nearest(min(wanted - known), known, noun=f'value of {name}')}")
        names[name] = wanted
    return names


def _included(one: Mapping[str, Any], grid: Mapping[str, list[_Value]]) -> Row:
    labels = dict.fromkeys(grid, "")
    layers: list[Mapping[str, Any]] = []
    beside: dict[str, Any] = {}
    for name, given in one.items():
        if name == "name":
            continue
        by_name = {value.label: value for value in grid.get(name, ())}
        if name not in grid:
            beside[name] = given
        elif label(given) in by_name:
            labels[name] = label(given)
            layers += by_name[label(given)].layers
        else:
            value = _value(name, given)
            labels[name] = value.label
            layers += value.layers
    layers += settings_layers(beside)
    if beside or "name" in one:
        labels[BESIDE] = str(one.get("name", label(beside)))
    if not layers:
        raise InputError(f"include: {dict(one)} sets nothing; give it settings")
    return Row(labels, tuple(layers))
