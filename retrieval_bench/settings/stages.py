"""The stages of a training: a recipe, and those that it names as its followers."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import TrainSettings

OF_ONE_STAGE = frozenset({"stage", "then", "sampler", "instances", "mine_every", "tuple_size", "hard_share"})
"""What a setting changes in the first stage only: a later one would no longer be itself."""

IN_PROPORTION = ("epochs", "lr", "warmup_lr", "final_lr")
"""What a setting changes in later stages by the same factor as in the first."""


NO_WISH: Mapping[str, Any] = MappingProxyType({})


def training_stages(
    settings: TrainSettings, recipes: Mapping[str, Recipe], batches: Mapping[str, Any] = NO_WISH
) -> dict[str, Recipe]:
    """The recipes of a run by name, first to last, with the values that the settings override.

    Args:
        settings: of the training.
        recipes: the method's.
        batches: the ``sampler`` and ``instances`` that the loss is made for; they hold in stages whose recipe has the
            default sampler, unless the settings say otherwise.

    Raises:
        InputError: an unknown recipe, a value that it refuses, or recipes that follow each other in a circle.
    """
    given = {name: value for name in Recipe.model_fields if (value := getattr(settings, name)) is not None}
    recipes = {name: _suited(recipe, batches) for name, recipe in recipes.items()}
    first = _known(settings.recipe, recipes)
    stages = {settings.recipe: _overridden(first, given)}
    follower = stages[settings.recipe].then
    while follower is not None:
        if follower in stages:
            raise InputError(f"recipe {follower!r} follows itself: {' -> '.join([*stages, follower])}; mend `then`")
        recipe = _known(follower, recipes)
        changed = {name: value for name, value in given.items() if name not in OF_ONE_STAGE}
        for name in IN_PROPORTION:
            before, asked = getattr(first, name), changed.pop(name, None)
            if asked is not None and before:
                changed[name] = type(before)(_scaled(asked, getattr(recipe, name) / before, before))
        stages[follower] = _overridden(recipe, changed)
        follower = recipe.then
    return {name: _whole_tuples(recipe) for name, recipe in stages.items()}


def _scaled(asked: float, factor: float, like: float) -> float:
    """An epoch count stays at least 1, unless none at all was asked for."""
    return max(min(asked, 1), round(asked * factor)) if isinstance(like, int) else asked * factor


def _known(name: str, recipes: Mapping[str, Recipe]) -> Recipe:
    if name not in recipes:
        raise InputError(nearest(name, recipes, noun="recipe"))
    return recipes[name]


def _overridden(recipe: Recipe, given: Mapping[str, object]) -> Recipe:
    try:
        return Recipe.model_validate(recipe.model_dump() | dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"train.{first['loc'][0]}={first['input']!r}: {first['msg']}") from error


def _suited(recipe: Recipe, batches: Mapping[str, Any]) -> Recipe:
    default = recipe.sampler == Recipe.model_fields["sampler"].default
    return recipe.model_copy(update=dict(batches)) if default else recipe


def _whole_tuples(recipe: Recipe) -> Recipe:
    """A batch of tuples holds no part of one; a class-balanced batch no part of a class."""
    groups = {"shuffle": 1, "class-balanced": recipe.instances, "hard-negatives": recipe.instances}
    size = groups.get(recipe.sampler, recipe.tuple_size)
    if recipe.batch_size < size:
        raise InputError(
            f"train.batch_size={recipe.batch_size} is less than one group of {size} images of the {recipe.sampler} "
            "sampler; raise it"
        )
    return recipe.model_copy(update={"batch_size": recipe.batch_size // size * size})
