"""CVNet as a method: what each stage trains, what feeds it, and pairs through the public door."""

import pytest
import torch
from numpy.testing import assert_allclose

import retrieval_bench as rb
from retrieval_bench.methods.cvnet.matching import matching_losses
from retrieval_bench.methods.cvnet.pre_activation import before_last_relu
from retrieval_bench.methods.cvnet.recipes import RECIPES
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe

TRIPLETS = torch.tensor([0, 0, 1, 2, 2, 0])
SECOND = Recipe(stage=2, sampler="hard-triplets", tuple_size=3)


@pytest.fixture
def model(build):
    return build("cvnet", queue_size=64)


@pytest.fixture
def second(model):
    """The model as its second stage trains it."""
    model.recipe = SECOND
    model.prepare_stage()
    return model.train()


def learning(model) -> set[str]:
    """First words of the parameters that learn."""
    return {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_what_is_the_default():
    model = rb.create_model("cvnet", backbone="test_resnet")
    assert model.descriptor_dim == 2048
    assert model.settings["loss"] == {"name": "curricularface", "margin": 0.15, "scale": 30.0}
    assert model.pooling.p.requires_grad
    protocol = model.protocol
    assert (protocol.channel_order, protocol.image_size, protocol.scale_resize) == ("bgr", None, "cv2-area")
    assert (protocol.exif, protocol.crop_rounding, protocol.merge) == ("apply", "truncate", "mean")
    assert_allclose(protocol.scales, [0.7071, 1.0, 1.4142])


def test_there_is_no_norm_between_pooling_and_projection(model, pictures):
    images = pictures(2, 48, 40)
    with torch.no_grad():
        pooled = model.pooling(model.backbone(images)[-1])
        expected = pooled @ model.projection.weight.T + model.projection.bias
        assert_allclose(model.embed(images), expected, rtol=1e-5)


def test_each_stage_trains_its_own_part(model):
    assert learning(model) == {"backbone", "pooling", "projection", "loss"}
    model.recipe = SECOND
    model.setup("fit")
    assert learning(model) == {"matcher"}
    model.recipe = Recipe()
    model.setup("fit")
    assert learning(model) == {"backbone", "pooling", "projection", "loss"}


def test_what_was_never_to_learn_stays_so(build):
    model = build("cvnet", pooling={"name": "gem", "learnable": False}, queue_size=64)
    model.prepare_stage()
    assert "pooling" not in learning(model)


def test_there_are_two_stages(model):
    model.recipe = Recipe(stage=3)
    with pytest.raises(InputError, match=r"stages 1 \(global\) and 2 \(re-ranking\), not 3"):
        model.prepare_stage()


def test_the_second_stage_leaves_the_global_network_alone(second, pictures):
    with torch.no_grad():
        second.contrast.network.projection.weight.add_(1)  # so that following would show
    before = {name: value.clone() for name, value in second.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in second.parameters() if p.requires_grad], lr=0.1)
    losses = second.losses(pictures(6, 64, 64), TRIPLETS)
    assert set(losses) == {"loss", "positive", "negative"}
    losses["loss"].backward()
    optimiser.step()
    second.follow()
    moved = {name for name, value in second.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("matcher.") for name in moved)
    assert all(parameter.grad is not None for parameter in second.matcher.parameters())


def test_the_second_stage_sees_maps_before_their_relu(second, pictures):
    images = pictures(6, 64, 48)
    with torch.no_grad(), before_last_relu(second.backbone) as taken:
        maps = taken(second.backbone(second.normalise(images)))
    assert (maps < 0).any()
    expected = matching_losses(second.matcher, maps, TRIPLETS)
    assert_allclose(second.losses(images, TRIPLETS)["loss"].item(), expected["loss"].item(), rtol=1e-5)
    assert torch.equal(second.eval().feature_maps(images), maps)


def test_more_is_hidden_from_epoch_to_epoch(build, monkeypatch):
    model = build("cvnet", queue_size=64, hide=(0.1, 0.4)).train()
    model.recipe = Recipe(stage=2, epochs=4)
    shares = []
    for epoch in range(4):
        monkeypatch.setattr(type(model), "current_epoch", epoch)
        shares.append(model._hide_share())
    assert_allclose(shares, [0.1, 0.2, 0.3, 0.4])
    assert model.eval()._hide_share() == 0


@pytest.mark.parametrize("sizes", [((64, 48), (64, 48)), ((33, 90), (80, 40)), ((16, 16), (20, 64))], ids=str)
def test_pairs_get_probabilities(sizes, model, pictures):
    query, database = (pictures(2, *size, seed=seed) for seed, size in enumerate(sizes))
    scores = model.match(query, database)
    assert scores.shape == (2,)
    assert scores.dtype == torch.float32
    assert ((scores > 0) & (scores < 1)).all()
    alone = torch.cat([model.match(query[row, None], database[row, None]) for row in range(2)])
    assert_allclose(scores, alone, rtol=1e-4)
    assert_allclose(model.match((255 * query).byte(), database), model.match((255 * query).byte() / 255, database))


def test_pairs_that_are_none(model, pictures):
    images = pictures(2, 32, 32)
    with pytest.raises(InputError, match="match compares pairs, got 2 query and 1 database images"):
        model.match(images, images[:1])
    with pytest.raises(InputError, match="from 255 to 255"):
        model.match(torch.full((2, 3, 32, 32), 255.0), images)
    with pytest.raises(InputError, match="training mode"):
        model.train().match(images, images)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"matcher_dim": 0}, "matcher_dim must be at least 1, got 0"),
        ({"hide": (0.0, 1.0)}, "hidden positions must be in 0 .. 1"),
        ({"momentum": -1.0}, "momentum must lie in"),
        ({"momentum_batchnorm": "none"}, "momentum_batchnorm"),
        ({"queue_length": 7}, "queue_size"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(given, said, build):
    with pytest.raises(InputError, match=said):
        build("cvnet", **given)


def test_hard_negatives_go_by_the_index(model, pictures):
    """Rows that the loader left out are known to be so, and never a negative."""
    images, labels = pictures(7, 40, 40), torch.tensor([0, 1, 0, 2, 1, 2, 0])
    kept = torch.tensor([6, 0, 1, 3, 4])

    class Loader(list):
        dataset = range(7)

    batches = Loader({"images": images[rows], "labels": labels[rows], "indices": rows} for rows in kept.split(2))
    found = model.hard_negatives(batches)
    assert found.shape == (7, 3)
    assert (found[[2, 5]] == -1).all()
    described = model.describe(images, scales=(1.0,))
    for row in kept.tolist():
        others = [other for other in kept.tolist() if labels[other] != labels[row]]
        best = sorted(others, key=lambda other: -float(described[row] @ described[other]))[:3]
        assert found[row].tolist() == best


@pytest.mark.parametrize("name", ["base", "published"])
def test_each_recipe_is_followed_by_its_second_stage(name):
    first = RECIPES[name]
    second = RECIPES[first.then]
    assert (first.stage, first.sampler, first.instances) == (1, "class-balanced", 2)
    assert (second.stage, second.sampler, second.then) == (2, "hard-triplets", None)
    assert (second.tuple_size, second.batch_size % 3) == (3, 0)
