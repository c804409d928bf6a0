"""Recipes with overrides, and parts with options."""

import pytest
from pydantic import ValidationError

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import PartSettings, RunSettings, TrainSettings

RECIPES = {"base": Recipe(), "published": Recipe(epochs=100, optimiser="adam", lr=5e-7, jitter=0.3)}


def test_the_named_recipe_is_taken_whole():
    assert TrainSettings(recipe="published").resolve(RECIPES) == RECIPES["published"]


def test_given_keys_override_and_others_stay():
    resolved = TrainSettings(recipe="published", epochs=3, jitter=0.0).resolve(RECIPES)
    assert (resolved.epochs, resolved.jitter) == (3, 0.0)
    assert (resolved.optimiser, resolved.lr) == ("adam", 5e-7)
    assert RECIPES["published"].epochs == 100


@pytest.mark.parametrize(("key", "value"), [("flip", 0.0), ("nesterov", False), ("warmup_epochs", 0), ("epochs", 0)])
def test_a_value_that_is_false_still_overrides(key, value):
    assert getattr(TrainSettings(**{key: value}).resolve(RECIPES), key) == value


def test_every_key_of_a_recipe_can_be_overridden():
    assert set(Recipe.model_fields) <= set(TrainSettings.model_fields)


def test_an_unknown_recipe_gives_the_nearest():
    with pytest.raises(InputError, match=r"unknown recipe 'publishd'; did you mean 'published'\?"):
        TrainSettings(recipe="publishd").resolve(RECIPES)


@pytest.mark.parametrize(
    ("key", "value"),
    [("lr", 0), ("momentum", 1.0), ("batch_size", 0), ("ema", 1.0), ("flip", 1.5), ("image_size", 8), ("gamma", 0)],
)
def test_a_value_that_the_recipe_refuses_names_its_key(key, value):
    with pytest.raises(InputError, match=rf"train\.{key}={value}") as caught:
        TrainSettings(**{key: value}).resolve(RECIPES)
    assert "\n" not in str(caught.value)


def test_a_wrong_type_is_refused_where_it_is_given():
    with pytest.raises(ValidationError, match="lr"):
        TrainSettings(lr="fast")


def test_a_part_keeps_every_other_key_as_an_option():
    part = PartSettings(name="rgem", p=4, levels=3)
    assert part.options == {"p": 4, "levels": 3}
    assert part.given() == {"name": "rgem", "p": 4, "levels": 3}


def test_a_part_of_which_nothing_is_given():
    assert PartSettings().given() is None
    assert PartSettings(p=4).given() == {"p": 4}


def test_the_folder_of_a_dataset_is_no_option():
    settings = RunSettings(dataset={"name": "folder", "root": "pictures", "table": "a.csv"})
    assert settings.dataset.options == {"table": "a.csv"}
    assert str(settings.dataset.root) == "pictures"


@pytest.mark.parametrize(
    "wrong",
    [
        {"extract": {"batch_size": 0}},
        {"extract": {"dtype": "int8"}},
        {"extract": {"image_size": 0}},
        {"search": {"k": 0}},
        {"evaluate": {"resamples": -1}},
        {"runtime": {"accelerator": "tpu"}},
        {"runtime": {"devices": 0}},
        {"runtime": {"workers": -1}},
        {"train": {"validation_share": 1.0}},
        {"train": {"validate_every": 0}},
        {"seed": -1},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        RunSettings.model_validate(wrong)
