"""Which images make a batch: the sampler that a recipe names."""

from collections.abc import Sequence

from retrieval_bench.data.hard_negatives import HardNegativeSampler
from retrieval_bench.data.hard_triplets import HardTripletSampler
from retrieval_bench.data.hard_tuples import HardTupleSampler
from retrieval_bench.data.samplers import ClassBalancedSampler, EpochSampler
from retrieval_bench.settings.recipe import Recipe


def training_sampler(
    recipe: Recipe, labels: Sequence[int], *, seed: int, rank: int = 0, world: int = 1
) -> EpochSampler:
    """The order of training images. Samplers of hard examples draw at random until they `know` what was mined.

    Args:
        recipe: names the sampler.
        labels: of every training image.
        seed: of all choices.
        rank, world: of this process.
    """
    if recipe.sampler in ("class-balanced", "hard-negatives"):
        # Few classes make smaller groups, not an error: K images each of all of them.
        classes = min(recipe.batch_size // recipe.instances, len(set(labels)))
        kind = ClassBalancedSampler if recipe.sampler == "class-balanced" else HardNegativeSampler
        return kind(labels, classes=classes, instances=recipe.instances, seed=seed, rank=rank, world=world)
    if recipe.sampler == "hard-tuples":
        return HardTupleSampler(labels, tuple_size=recipe.tuple_size, seed=seed, rank=rank, world=world)
    if recipe.sampler == "hard-triplets":
        return HardTripletSampler(
            labels, hard_share=recipe.hard_share, epochs=recipe.epochs, seed=seed, rank=rank, world=world
        )
    return EpochSampler(len(labels), seed=seed, rank=rank, world=world)
