"""Every setting of a run: its name, what values it takes, its default, what it does."""

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.loading import PARTS_OF_PARTS
from retrieval_bench.settings.options import Option, default_text, kind_text
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import PartSettings, RunSettings, TrainSettings

OPTION = "<option>"
"""Stands for any option of a part: which there are, the part says."""

_PART = {"rerank": "reranker"}
"""Sections that are called otherwise than the kind of their part."""


def listed_settings() -> list[Option]:
    """All settings by their full names, such as ``train.epochs``, in the order in which a run's file has them."""
    return [row for name, field in RunSettings.model_fields.items() for row in _rows(name, field, RunSettings)]


def _rows(key: str, field: FieldInfo, owner: type[BaseModel]) -> list[Option]:
    kind: Any = field.annotation
    if key == "model":
        return [_options_of(key, "method")]
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return [_setting(key, field, owner)]
    below = [row for name, inner in kind.model_fields.items() for row in _rows(f"{key}.{name}", inner, kind)]
    return _part(key, field, below) if issubclass(kind, PartSettings) else below


def _setting(key: str, field: FieldInfo, owner: type[BaseModel]) -> Option:
    name = key.rpartition(".")[2]
    # What is null in a run is the recipe's, and says more about what it takes.
    recipe = Recipe.model_fields.get(name) if owner is TrainSettings else None
    field, mark = (field, "") if recipe is None else (recipe, " *")
    default = default_text(field.get_default(call_default_factory=True))
    return Option(key, kind_text(field.annotation), f"{default}{mark}", field.description or "")


def _part(section: str, field: FieldInfo, below: list[Option]) -> list[Option]:
    """A part is set by the name of its section; its options are its own."""
    default = default_text(field.default.name)
    inner = [
        row
        for name in PARTS_OF_PARTS.get(section, ())
        for row in (
            Option(f"{section}.{name}", "name", "null", f"as in `list {KINDS[name].plural}`; null: none"),
            _options_of(f"{section}.{name}", name),
        )
    ]
    own = [row for row in below if row.name != f"{section}.name"]
    options = _options_of(section, _PART.get(section, section))
    return [Option(section, "name", default, field.description or ""), *own, options, *inner]


def _options_of(section: str, kind: str) -> Option:
    text = f"an option of the {kind.replace('_', ' ')}: `list {KINDS[kind].plural} --card NAME`"
    return Option(f"{section}.{OPTION}", "any", "its own", text)
