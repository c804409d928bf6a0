"""Which images make a batch: the sampler that a recipe names."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from retrieval_bench.data.hard_triplets import HardTripletSampler
from retrieval_bench.data.hard_tuples import HardTupleSampler
from retrieval_bench.data.samplers import ClassBalancedSampler, EpochSampler
from retrieval_bench.settings.recipe import Recipe

MINED_BY = {"hard-tuples": "predictions", "hard-triplets": "neighbours"}
"""Sampler -> what it reads of the things that the model mined."""


def training_sampler(
    recipe: Recipe, labels: Sequence[int], mined: Mapping[str, Tensor], *, seed: int, rank: int = 0, world: int = 1
) -> EpochSampler:
    """The order of training images.

    Args:
        recipe: names the sampler.
        labels: of every training image.
        mined: ``predictions`` (N,), the class that the model takes each image for; ``neighbours`` (N, K), the rows of
            other classes that it finds most alike. Without them hard samplers draw at random.
        seed: of all choices.
        rank, world: of this process.
    """
    if recipe.sampler == "class-balanced":
        # Few classes make smaller groups, not an error: K images each of all of them.
        classes = min(recipe.batch_size // recipe.instances, len(set(labels)))
        return ClassBalancedSampler(
            labels, classes=classes, instances=recipe.instances, seed=seed, rank=rank, world=world
        )
    if recipe.sampler == "hard-tuples":
        predictions = mined.get("predictions")
        return HardTupleSampler(
            labels,
            tuple_size=recipe.tuple_size,
            predictions=None if predictions is None else predictions.tolist(),
            seed=seed,
            rank=rank,
            world=world,
        )
    if recipe.sampler == "hard-triplets":
        return HardTripletSampler(
            labels,
            neighbours=mined.get("neighbours"),
            hard_share=recipe.hard_share,
            epochs=recipe.epochs,
            seed=seed,
            rank=rank,
            world=world,
        )
    return EpochSampler(len(labels), seed=seed, rank=rank, world=world)
