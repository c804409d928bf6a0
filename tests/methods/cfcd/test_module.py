"""CFCD's descriptor and the losses of its two stages."""

import pytest
import torch
from numpy.testing import assert_allclose

import retrieval_bench as rb
from retrieval_bench.losses.madacos import MadaCos
from retrieval_bench.methods.cfcd.matching import matched_triplet_loss
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.values.features import Features

SECOND = Recipe(stage=2, sampler="hard-tuples", tuple_size=4)
LABELS = torch.tensor([0, 0, 1, 2, 1, 1, 2, 0])


@pytest.fixture
def second(build):
    """A model in its second stage; whatever is given goes to the constructor."""

    def make(**given):
        model = build("cfcd", **given).train()
        model.recipe = SECOND
        return model

    return make


def alike(pictures, side=96):
    """Two tuples of four pictures that differ little, so that positions match."""
    base, noise = pictures(2, side, side), pictures(8, side, side, seed=1)
    return 0.9 * base.repeat_interleave(4, dim=0) + 0.1 * noise


def test_what_is_published():
    model = rb.create_model("cfcd", backbone="test_resnet", num_classes=5)
    assert model.descriptor_dim == 512
    assert isinstance(model.loss, MadaCos)
    assert (model.loss.alpha, model.loss.scale, model.loss.background) == (0.02, 32.0, "median-sample")
    assert float(model.pooling.p) == 3
    assert not model.pooling.p.requires_grad
    assert (model.matching_weight, model.matching_ratio, model.matching_margin) == (0.05, 0.9, 0.1)
    assert (model.protocol.channel_order, model.protocol.image_size, model.protocol.exif) == ("bgr", None, "apply")
    assert_allclose(model.protocol.scales, [0.3535, 0.5, 0.7071, 1.0, 1.4142])


def test_the_vector_is_normalised_over_the_batch(build, pictures):
    model, images = build("cfcd").train(), pictures(6, 48, 48)
    with torch.no_grad():
        feature_map = model.backbone(model.normalise(images))[-1]
        projected = model.projection(model.pooling(feature_map))
        embedded = model.head(Features((feature_map,)))
    expected = (projected - projected.mean(dim=0)) / (projected.var(dim=0, unbiased=False) + 1e-5).sqrt()
    assert_allclose(embedded, expected, rtol=1e-3, atol=1e-4)


def test_the_first_stage_has_the_global_loss_alone(build, pictures):
    losses = build("cfcd").train().losses(pictures(4, 48, 48), torch.tensor([0, 1, 2, 0]))
    assert set(losses) == {"loss", "global"}
    assert torch.equal(losses["loss"], losses["global"])


@pytest.mark.parametrize("weight", [0.05, 1.0])
def test_the_second_stage_adds_the_matched_triplets(weight, second, pictures):
    model, images = second(matching_weight=weight), alike(pictures)
    losses = model.losses(images, LABELS)
    assert set(losses) == {"loss", "global", "matching"}
    assert losses["matching"] > 0
    expected = losses["global"] + weight * losses["matching"]
    assert_allclose(losses["loss"].item(), expected.item(), rtol=1e-6)
    with torch.no_grad():
        feature_map = model.backbone(model.normalise(images))[-1]
    assert_allclose(losses["matching"].item(), matched_triplet_loss(feature_map, 4).item(), rtol=1e-4)


def test_the_matching_options_reach_the_loss(second, pictures):
    images = alike(pictures)
    plain = second().losses(images, LABELS)["matching"]
    assert second(matching_margin=0.5).losses(images, LABELS)["matching"] > plain
    assert second(matching_ratio=0.0).losses(images, LABELS)["matching"] == 0


def test_the_matching_loss_trains_the_backbone_only(second, pictures):
    model = second()
    model.losses(alike(pictures), LABELS)["matching"].backward()
    reached = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {"backbone"}


@pytest.mark.parametrize("count", [6, 5, 1])
def test_validation_of_the_second_stage_takes_any_batch(count, second, pictures):
    losses = second().eval().losses(pictures(count, 48, 48), LABELS[:count])
    assert set(losses) == {"loss", "global"}


def test_half_a_tuple_is_refused(second, pictures):
    with pytest.raises(InputError, match=r"tuples of 4 images, got a batch of 6; set train\.batch_size to a multiple"):
        second().losses(pictures(6, 48, 48), LABELS[:6])


@pytest.mark.parametrize("given", [{"matching_weight": -1.0}, {"matching_ratio": -0.1}], ids=str)
def test_options_that_mean_nothing(given, build):
    with pytest.raises(InputError, match=r"must not be negative, got -"):
        build("cfcd", **given)


def test_every_recipe_that_is_named_is_there():
    recipes = rb.create_model("cfcd", backbone="test_resnet").recipes
    for first, follower in (("base", "matching"), ("published", "published-matching")):
        assert (recipes[first].stage, recipes[first].then) == (1, follower)
        assert (recipes[follower].stage, recipes[follower].then) == (2, None)
        assert recipes[follower].sampler == "hard-tuples"
        assert recipes[follower].batch_size % recipes[follower].tuple_size == 0
    assert recipes["base"].model_copy(update={"then": None}) == Recipe()


def test_the_card_shows_nothing_from_memory():
    assert rb.create_model("cfcd", backbone="test_resnet").card.published == ()
