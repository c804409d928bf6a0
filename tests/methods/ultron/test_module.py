"""ULTRON as a method: its parts, its phases, its own checkpoints."""

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.settings.errors import InputError

SMALL = {"name": "ultron_s", "depths": [1, 1, 1, 1], "widths": [8, 16, 32, 64]}


def test_the_parts_of_each_size(build):
    for variant in ("s", "b"):
        with torch.device("meta"):
            model = build("ultron", backbone=None, variant=variant, dim=None)
        assert model.settings["backbone"] == {"name": f"ultron_{variant}"}
        assert model.settings["pooling"] == {"name": "ultron"}
        assert model.settings["loss"] == {"name": "madacos", "alpha": 0.04}
        assert model.descriptor_dim == 512
        assert model.backbone.channels == ({"s": 512, "b": 768}[variant],)


def test_losses_by_name(build, pictures):
    model = build("ultron", backbone=SMALL).train()
    assert set(model.losses(pictures(3, 40, 40), torch.tensor([0, 1, 2]))) == {"loss"}


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_descriptor_is_pooled_projected_and_normalised(norm, build, pictures):
    model = build("ultron", backbone=SMALL, projection_norm=norm)
    images = model.normalise(pictures(2, 64, 48))
    with torch.no_grad():
        if norm == "batch":
            model.norm.running_mean.uniform_(-1, 1)
            model.norm.running_var.uniform_(0.5, 2)
        pooled = model.pooling(model.backbone(images)[-1])
        expected = pooled @ model.projection.weight.T + model.projection.bias
        if norm == "batch":
            expected = (expected - model.norm.running_mean) / (model.norm.running_var + 1e-5).sqrt()
        torch.testing.assert_close(model.embed(images), expected, rtol=1e-4, atol=1e-5)
        unit = expected / expected.norm(dim=1, keepdim=True)
        torch.testing.assert_close(model.describe(pictures(2, 64, 48), scales=(1.0,)), unit, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_part(build, pictures):
    model = build("ultron", backbone={**SMALL, "drop_path": 0.0}).train()
    # 96 pixels are three positions a side in the last stage; with two the window is one position and asks nothing.
    model.losses(pictures(6, 96, 96), torch.tensor([0, 1, 2, 0, 1, 2]))["loss"].backward()
    trainable = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert [name for name, gradient in trainable.items() if gradient is None or not gradient.isfinite().all()] == []
    assert [name for name, gradient in trainable.items() if gradient.ndim > 1 and not gradient.any()] == []


@pytest.mark.parametrize("size", [(1, 1), (8, 500), (120, 96)], ids=str)
def test_images_of_a_batch_do_not_touch_each_other(size, build, pictures):
    model, images = build("ultron", backbone=SMALL), pictures(3, *size)
    described = model.describe(images)
    torch.testing.assert_close(described.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(described[1:2], model.describe(images[1:2]), atol=1e-5, rtol=1e-4)


def test_own_weights_of_a_reduced_network(build, save, pictures, tmp_path):
    model = build("ultron", seed=1, backbone=SMALL, pooling={"name": "ultron", "exponent": 1.25})
    loaded = rb.create_model("ultron", weights=save(model, tmp_path / "own.ckpt"))
    assert loaded.settings == model.settings
    assert torch.equal(loaded.describe(pictures(2, 48, 40)), model.describe(pictures(2, 48, 40)))


def test_other_parts_take_the_place_of_its_own(build, pictures):
    model = build("ultron", pooling="gem", loss={"name": "arcface"})
    assert model.losses(pictures(2, 40, 40), torch.tensor([0, 1]))["loss"].isfinite()
    assert build("gem", backbone=SMALL, pooling="ultron").describe(pictures(1, 40, 40)).shape == (1, 16)


def test_the_second_phase_follows_the_first(build):
    recipes = build("ultron").recipes
    first, second = recipes["published"], recipes[recipes["published"].then]
    assert (first.stage, first.optimiser, first.epochs) == (1, "adamw", 10)
    assert (second.stage, second.optimiser, second.epochs, second.then) == (2, "sgd", 30, None)


def test_the_card_claims_no_figures(build):
    card = build("ultron").card
    assert card.published == ()
    assert "partial information" in card.implementation
    assert "not comparable to the published numbers" in card.implementation


def test_no_foreign_file_is_known(tmp_path):
    torch.save({"stage.conv.weight": torch.zeros(2)}, tmp_path / "foreign.pth")
    with pytest.raises(InputError, match=r"no format known for method 'ultron'.*known: our own checkpoints$"):
        rb.create_model("ultron", weights=tmp_path / "foreign.pth")


@pytest.mark.parametrize(
    ("given", "said"),
    [({"variant": "l"}, "variant='l'"), ({"projection_norm": "layer"}, "projection_norm='layer'")],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(given, said, build):
    with pytest.raises(InputError, match=said):
        build("ultron", **given)
