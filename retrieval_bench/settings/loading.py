"""Settings from YAML files and the command line, in layers; the last one wins.

defaults < ``configs/methods/<method>.yaml`` < ``configs/datasets/<dataset>.yaml`` < ``--config`` < command line

A dataset file may hold a section ``from_scratch``, which applies only where no weights are given: the sizes at which a
network trains on that dataset in little time. Below ``from_scratch.methods`` stands what single methods need otherwise.
A method without presets of its own has those of the nearest method that it extends.

Files of plug-ins that a YAML file names stand relative to that file, so that both can be passed on together; every
other path, and plug-ins on the command line, stand relative to the current folder.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.lineage import lineage_of
from retrieval_bench.settings.places import config_folder
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.settings.unknown_key import unknown_key

PARTS = ("dataset", "backbone", "pooling", "loss", "rerank")

PARTS_OF_PARTS = {"loss": ("batch_attention",)}
"""Options of a part that are parts themselves: a name, and options of their own below it."""

_BY_NAME = {*PARTS, *(inner for names in PARTS_OF_PARTS.values() for inner in names)}


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads ``1e-3`` as text; here it is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+$"), list("+-.0123456789")
)


def load_settings(overrides: Sequence[str] = (), config: Path | None = None, later: Sequence[str] = ()) -> RunSettings:
    """The settings of a run.

    Args:
        overrides: ``key=value``, ``section.key=value``, or a part by its name (``pooling=rgem``).
        config: a YAML file with any of the settings.
        later: overrides that are laid over the others: a part that they name has none of the options given before.

    Raises:
        InputError: a missing or malformed file, an unknown key (with the nearest known one), or a wrong type.
    """
    return layered(given_values(overrides, config, later))


def given_values(
    overrides: Sequence[str] = (), config: Path | None = None, later: Sequence[str] = ()
) -> dict[str, Any]:
    """What the user says of a run, as plain values and without presets; see `load_settings`."""
    given = read_yaml(config) if config is not None else {}
    for rank in (overrides, later):
        merge_all(given, [parse_override(override) for override in rank])
    return given


def layered(values: Mapping[str, Any], plugins: Sequence[Path] = ()) -> RunSettings:
    """The settings that `values` give over the presets of their method and dataset.

    Args:
        values: plain ones.
        plugins: files beside those that `values` name, which may register the method.

    Raises:
        InputError: an unknown key or a wrong type.
    """
    given = _all_spelt_out(values)
    method = str(given.get("method", "gem"))
    dataset = _name(given.get("dataset", {})) or "synthetic"
    defaults = _optional(config_folder() / "datasets" / f"{dataset}.yaml")
    from_scratch = defaults.pop("from_scratch", {})
    special = from_scratch.pop("methods", {})
    layers: dict[str, Any] = {}
    for name in lineage_of(method, [*_files(given.get("plugins")), *plugins]):
        own = config_folder() / "methods" / f"{name}.yaml"
        if name in special or own.is_file():
            merge(layers, _optional(own))
            special = special.get(name, {})
            break
    else:
        special = {}
    merge(layers, defaults)
    if given.get("weights") is None:
        merge(layers, from_scratch)
        merge(layers, special)
    merge(layers, given)
    return validate(layers)


def validate(values: Mapping[str, Any]) -> RunSettings:
    """Settings from plain values; errors are one line and name the key."""
    try:
        return RunSettings.model_validate(values)
    except ValidationError as error:
        raise InputError(_message(error)) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, with parts given by name spelt out.

    Raises:
        InputError: no such file, or no mapping.
    """
    if not path.is_file():
        raise InputError(f"no settings file at {path}")
    try:
        content = _parse(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {' '.join(str(error).split())}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a mapping of settings, got {type(content).__name__}")
    scratch = content.get("from_scratch")
    if isinstance(scratch, dict):
        content["from_scratch"] = _all_spelt_out(scratch)
        special = scratch.get("methods")
        if isinstance(special, dict):
            content["from_scratch"]["methods"] = {name: _all_spelt_out(layer) for name, layer in special.items()}
    content |= _plugins_beside(path, content)
    return _all_spelt_out(content)


def parse_override(text: str) -> dict[str, Any]:
    """``section.key=value`` as a nested mapping.

    Raises:
        InputError: no ``=``, or an empty key.
    """
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise InputError(f"{text!r} is no setting; write section.key=value, such as train.epochs=5")
    try:
        parsed = _parse(value) if value else None
    except yaml.YAMLError:
        parsed = value
    return nested(key, parsed)


def nested(key: str, value: Any) -> dict[str, Any]:
    """``section.key`` and its value as a nested mapping, with a part given by its name spelt out."""
    first, *rest = key.split(".")
    for name in reversed(rest):
        value = {name: value}
    return {first: _spelt_out(first, value)}


def merge_all(base: dict[str, Any], layers: Iterable[Mapping[str, Any]]) -> None:
    """Lay settings of one rank over `base`, in place."""
    # A part's name drops the options below it, so names come before options whatever their order.
    for layer in sorted(layers, key=_depth_of_name):
        merge(base, layer)


def merge(base: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Lay `layer` over `base`, in place. Another part name drops the options of the part below it."""
    for key, value in layer.items():
        below = base.get(key)
        if not (isinstance(below, dict) and isinstance(value, Mapping)):
            base[key] = dict(value) if isinstance(value, Mapping) else value
        elif key in _BY_NAME and "name" in value and value["name"] != below.get("name"):
            base[key] = dict(value)
        else:
            merge(below, value)


def dump(settings: RunSettings) -> str:
    """The settings as YAML that `load_settings` reads back, wherever it is kept."""
    values = settings.model_dump(mode="json")
    values["plugins"] = [str(file.expanduser().absolute()) for file in settings.plugins]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _plugins_beside(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """The plug-ins that a YAML file names, from its own folder."""
    files = content.get("plugins")
    found = [str(path.parent / file.expanduser()) for file in _files(files)]
    return {"plugins": found[0] if isinstance(files, str) else found} if found else {}


def _files(plugins: Any) -> list[Path]:
    """The files of the setting ``plugins``, one or a list; none where it is anything else, which is refused later."""
    files = [plugins] if isinstance(plugins, str | Path) else plugins
    given = isinstance(files, list) and all(isinstance(file, str | Path) for file in files)
    return [Path(file) for file in files] if given else []


def _all_spelt_out(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _spelt_out(key, value) for key, value in settings.items()}


def _spelt_out(key: str, value: Any) -> Any:
    if key in PARTS and (value is None or isinstance(value, str)):
        return {"name": None if value in (None, "none") else value}
    inner = PARTS_OF_PARTS.get(key, ())
    if isinstance(value, Mapping) and any(name in value for name in inner):
        return {
            name: {"name": None if part in (None, "none") else part}
            if name in inner and (part is None or isinstance(part, str))
            else part
            for name, part in value.items()
        }
    return value


def _parse(text: str) -> Any:
    return yaml.load(text, _Loader)


def _depth_of_name(override: Mapping[str, Any]) -> int:
    """0 for what names a part, 1 for what names a part of a part, 2 for everything else."""
    for key, value in override.items():
        if key in PARTS and isinstance(value, Mapping):
            if "name" in value:
                return 0
            inner = [value.get(name) for name in PARTS_OF_PARTS.get(key, ())]
            if any(isinstance(part, Mapping) and "name" in part for part in inner):
                return 1
    return 2


def _name(part: Any) -> str | None:
    return part.get("name") if isinstance(part, Mapping) else None


def _optional(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    state = path.stat()
    return deepcopy(_preset(path, state.st_mtime_ns, state.st_size))


@cache
def _preset(path: Path, changed: int, size: int) -> dict[str, Any]:
    """A study lays hundreds of runs over the same few files."""
    return read_yaml(path)


def _message(error: ValidationError) -> str:
    first = error.errors()[0]
    location, value = [str(item) for item in first["loc"]], first["input"]
    if first["type"] == "extra_forbidden":
        return unknown_key(location, value)
    key = ".".join(location)
    if first["type"] == "model_type":
        return f"setting {key}={value!r} is wrong: {key} is a section; write {key}.NAME=VALUE"
    if isinstance(value, Mapping) and value:
        below, given = next(iter(value.items()))
        return f"setting {key}.{below}={given!r} is wrong: nothing stands below {key}; write {key}=VALUE"
    reason = "a path is expected" if first["type"] == "path_type" else first["msg"].lower()
    return f"setting {key}={value!r} is wrong: {reason}"
