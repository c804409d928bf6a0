"""Overrides of a recipe, and parts with options."""

import pytest
from pydantic import ValidationError

from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import PartSettings, RunSettings, TrainSettings


def test_every_key_of_a_recipe_can_be_overridden():
    assert set(Recipe.model_fields) <= set(TrainSettings.model_fields)


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
