"""The list of settings: complete, each with what it takes, and true."""

from pydantic import BaseModel

from retrieval_bench.settings.listing import OPTION, listed_settings
from retrieval_bench.settings.loading import load_settings
from retrieval_bench.settings.run import RunSettings

LISTED = {one.name: one for one in listed_settings()}


def leaves(model: BaseModel, above: str = "") -> set[str]:
    """The names of all settings that hold a value."""
    names = set()
    for name in type(model).model_fields:
        value = getattr(model, name)
        names |= leaves(value, f"{above}{name}.") if isinstance(value, BaseModel) else {f"{above}{name}"}
    return names


def test_every_setting_is_listed_once_and_nothing_else():
    assert len(LISTED) == len(listed_settings())
    # A part is set by the name of its section, and options of the method are in `model`.
    wanted = {name.removesuffix(".name") for name in leaves(RunSettings())} - {"model"}
    assert {name for name in LISTED if OPTION not in name} - {"loss.batch_attention"} == wanted


def test_every_setting_says_what_it_is_and_takes():
    assert [one.name for one in LISTED.values() if not one.text or not one.kind or not one.default] == []


def test_the_keys_are_those_that_are_read():
    for name in LISTED:
        load_settings([f"{name.replace(OPTION, 'p')}="] if "." in name and OPTION in name else [])
    assert load_settings(["train.ema=0.5"]).train.ema == 0.5


def test_kinds_and_defaults():
    assert (LISTED["train.epochs"].kind, LISTED["train.epochs"].default) == ("int", "30 *")
    assert (LISTED["train.recipe"].kind, LISTED["train.recipe"].default) == ("str", "base")
    assert LISTED["search.k"].kind == "int or null"
    assert LISTED["runtime.accelerator"].kind == "auto | cpu | gpu"
    assert (LISTED["dataset"].kind, LISTED["dataset"].default) == ("name", "synthetic")
    assert "`list rerankers --card NAME`" in LISTED[f"rerank.{OPTION}"].text
    assert LISTED["loss.batch_attention"].default == "null"
    assert LISTED["plugins"].default == "[]"
