"""A training's recipes: overrides, and stages that follow each other."""

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import TrainSettings
from retrieval_bench.settings.stages import training_stages

RECIPES = {
    "base": Recipe(),
    "published": Recipe(epochs=100, optimiser="adam", lr=5e-7, jitter=0.3),
    "two": Recipe(epochs=30, lr=0.01, then="second"),
    "second": Recipe(stage=2, sampler="hard-tuples", tuple_size=8, epochs=10, lr=0.001, warmup_epochs=0),
}


def only(**given):
    (recipe,) = training_stages(TrainSettings(**given), RECIPES).values()
    return recipe


def test_the_named_recipe_is_taken_whole():
    assert only(recipe="published") == RECIPES["published"]


def test_given_keys_override_and_others_stay():
    resolved = only(recipe="published", epochs=3, jitter=0.0)
    assert (resolved.epochs, resolved.jitter) == (3, 0.0)
    assert (resolved.optimiser, resolved.lr) == ("adam", 5e-7)
    assert RECIPES["published"].epochs == 100


@pytest.mark.parametrize(("key", "value"), [("flip", 0.0), ("nesterov", False), ("warmup_epochs", 0), ("epochs", 0)])
def test_a_value_that_is_false_still_overrides(key, value):
    assert getattr(only(**{key: value}), key) == value


def test_an_unknown_recipe_gives_the_nearest():
    with pytest.raises(InputError, match=r"unknown recipe 'publishd'; did you mean 'published'\?"):
        only(recipe="publishd")


@pytest.mark.parametrize(
    ("key", "value"),
    [("lr", 0), ("momentum", 1.0), ("batch_size", 0), ("ema", 1.0), ("flip", 1.5), ("image_size", 8), ("gamma", 0)],
)
def test_a_value_that_the_recipe_refuses_names_its_key(key, value):
    with pytest.raises(InputError, match=rf"train\.{key}={value}") as caught:
        only(**{key: value})
    assert "\n" not in str(caught.value)


def test_a_recipe_brings_its_followers():
    assert training_stages(TrainSettings(recipe="two"), RECIPES) == {"two": RECIPES["two"], "second": RECIPES["second"]}


def test_overrides_reach_later_stages_epochs_and_rates_in_proportion():
    first, second = training_stages(TrainSettings(recipe="two", epochs=9, lr=0.1, flip=0.0), RECIPES).values()
    assert (first.epochs, first.lr, first.flip) == (9, 0.1, 0.0)
    assert (second.epochs, second.flip, second.warmup_epochs) == (3, 0.0, 0)
    assert second.lr == pytest.approx(0.01)


@pytest.mark.parametrize(("epochs", "later"), [(0, 0), (1, 1), (2, 1), (60, 20)])
def test_a_later_stage_has_an_epoch_where_the_first_has_one(epochs, later):
    assert training_stages(TrainSettings(recipe="two", epochs=epochs), RECIPES)["second"].epochs == later


def test_what_makes_a_stage_is_not_overridden_in_a_later_one():
    given = TrainSettings(recipe="two", stage=1, sampler="shuffle", tuple_size=4, instances=3)
    assert training_stages(given, RECIPES)["second"] == RECIPES["second"]


def test_settings_of_the_first_stage_written_out_give_the_same_stages():
    plain = training_stages(TrainSettings(recipe="two", epochs=9, lr=0.1), RECIPES)
    spelt = TrainSettings(recipe="two", **plain["two"].model_dump())
    again = training_stages(spelt, RECIPES)
    assert (again["second"].epochs, again["second"].sampler) == (plain["second"].epochs, "hard-tuples")
    assert again["two"] == plain["two"]


def test_batches_hold_whole_groups():
    assert only(sampler="hard-tuples", tuple_size=8, batch_size=30).batch_size == 24
    assert only(sampler="class-balanced", instances=4, batch_size=30).batch_size == 28
    assert only(batch_size=30).batch_size == 30
    with pytest.raises(InputError, match=r"train\.batch_size=5 is less than one group of 8 images"):
        only(sampler="hard-tuples", batch_size=5)


def test_recipes_in_a_circle():
    recipes = {"base": Recipe(then="other"), "other": Recipe(then="base")}
    with pytest.raises(InputError, match="'base' follows itself: base -> other -> base"):
        training_stages(TrainSettings(), recipes)


def test_an_unknown_follower():
    with pytest.raises(InputError, match="unknown recipe 'nowhere'"):
        training_stages(TrainSettings(), {"base": Recipe(then="nowhere")})


WISH = {"sampler": "class-balanced", "instances": 4}


def test_batches_are_those_that_the_loss_asks_for():
    (recipe,) = training_stages(TrainSettings(), RECIPES, WISH).values()
    assert (recipe.sampler, recipe.instances, recipe.batch_size) == ("class-balanced", 4, 128)
    (recipe,) = training_stages(TrainSettings(batch_size=30), RECIPES, WISH).values()
    assert recipe.batch_size == 28


def test_who_chooses_a_sampler_has_it_whatever_the_loss_asks_for():
    (recipe,) = training_stages(TrainSettings(sampler="shuffle"), RECIPES, WISH).values()
    assert recipe.sampler == "shuffle"
    (recipe,) = training_stages(TrainSettings(instances=3), RECIPES, WISH).values()
    assert (recipe.sampler, recipe.instances) == ("class-balanced", 3)
    (recipe,) = training_stages(TrainSettings(sampler="hard-negatives"), RECIPES, WISH).values()
    assert (recipe.sampler, recipe.instances) == ("hard-negatives", 4)


def test_a_recipe_with_a_sampler_of_its_own_keeps_it():
    first, second = training_stages(TrainSettings(recipe="two"), RECIPES, WISH).values()
    assert (first.sampler, first.instances) == ("class-balanced", 4)
    assert second == RECIPES["second"]
    recipes = {"base": Recipe(sampler="class-balanced", instances=2)}
    assert training_stages(TrainSettings(), recipes, WISH)["base"].instances == 2


def test_a_loss_that_shuffles_changes_nothing():
    assert training_stages(TrainSettings(), RECIPES, {"sampler": "shuffle"}) == {"base": RECIPES["base"]}


def test_a_sampler_that_there_is_not():
    with pytest.raises(InputError, match=r"train\.sampler='balanced'"):
        training_stages(TrainSettings(), RECIPES, {"sampler": "balanced"})
