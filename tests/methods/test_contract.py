"""What every registered method promises; a new one is tested here without an edit."""

import json

import pytest
import pytorch_lightning as pl
import torch

import retrieval_bench as rb
from retrieval_bench.methods.checkpoints import OWN
from retrieval_bench.methods.registry import METHODS
from retrieval_bench.settings.errors import InputError

METHODS_HERE = rb.list_methods()
SIZES = [(33, 47), (64, 64), (1, 1), (8, 500), (500, 8), (2, 3)]


@pytest.fixture(params=METHODS_HERE)
def method(request):
    return request.param


def test_the_two_first_methods_are_there():
    assert {"gem", "delg"} <= set(METHODS_HERE)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_descriptors_have_unit_norm_at_any_size(method, size, build, pictures):
    model = build(method)
    described = model.describe(pictures(2, *size))
    assert described.shape == (2, model.descriptor_dim)
    assert described.dtype == torch.float32
    assert not described.requires_grad
    torch.testing.assert_close(described.norm(dim=1), torch.ones(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_uniform_images_are_described(method, value, build):
    described = build(method).describe(torch.full((1, 3, 40, 30), value))
    assert described.isfinite().all()


def test_the_dimension_that_was_asked_for(method, build, pictures):
    assert build(method, dim=24).describe(pictures(1, 32, 32)).shape == (1, 24)


def test_uint8_means_the_same_as_float(method, build, pictures):
    model = build(method)
    raw = (255 * pictures(2, 40, 36)).to(torch.uint8)
    torch.testing.assert_close(model.describe(raw), model.describe(raw.float() / 255))


def test_images_of_a_batch_do_not_touch_each_other(method, build, pictures):
    model = build(method)
    images = pictures(3, 40, 36)
    alone = torch.cat([model.describe(image[None]) for image in images])
    torch.testing.assert_close(model.describe(images), alone, atol=1e-5, rtol=1e-4)


def test_different_images_differ(method, build, pictures):
    first, second = build(method).describe(pictures(2, 40, 36))
    assert not torch.allclose(first, second)


def test_the_same_twice(method, build, pictures):
    images = pictures(2, 40, 36)
    assert torch.equal(build(method).describe(images), build(method).describe(images))


def test_the_published_scales_are_the_default(method, build, pictures):
    model, images = build(method), pictures(1, 64, 48)
    assert torch.equal(model.describe(images), model.describe(images, scales=model.protocol.scales))
    assert not torch.allclose(model.describe(images), model.describe(images, scales=(0.5,)))


def test_it_is_built_for_evaluation_and_refuses_to_describe_in_training(method, build, pictures):
    model = build(method)
    assert not model.training
    with pytest.raises(InputError, match=r"training mode.*call \.eval\(\)"):
        model.train().describe(pictures(2, 32, 32))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(3, 32, 32), r"\(3, 32, 32\)"),
        (torch.zeros(1, 1, 32, 32), r"\(1, 1, 32, 32\)"),
        (torch.zeros(1, 32, 32, 3), r"\(1, 32, 32, 3\)"),
        (torch.zeros(0, 3, 32, 32), r"\(0, 3, 32, 32\)"),
        (torch.zeros(1, 3, 0, 32), r"\(1, 3, 0, 32\)"),
        (torch.full((1, 3, 32, 32), 255.0), "from 255 to 255.*divide by 255"),
        (torch.full((1, 3, 32, 32), -2.1), "from -2.1 to -2.1"),
        (torch.full((1, 3, 32, 32), float("nan")), "nan"),
        (torch.full((1, 3, 32, 32), float("inf")), "inf"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int64), "got int64"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.bool), "got bool"),
    ],
    ids=["3-D", "grey", "channels last", "no image", "no pixel", "0..255", "normalised", "nan", "inf", "int64", "bool"],
)
def test_wrong_images_are_told_what_they_are(method, images, said, build):
    model = build(method)
    with pytest.raises(InputError, match=said) as caught:
        model.describe(images)
    assert "\n" not in str(caught.value)


def test_resampling_may_overshoot_a_little(method, build, pictures):
    images = pictures(1, 32, 32)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = -0.05, 1.05
    assert build(method).describe(images).isfinite().all()


@pytest.mark.parametrize("scales", [(0.0,), (1.0, -0.5), ()], ids=str)
def test_scales_that_make_no_image(method, scales, build, pictures):
    with pytest.raises(InputError, match="scale"):
        build(method).describe(pictures(1, 32, 32), scales=scales)


def test_losses_are_scalars_and_one_of_them_is_minimised(method, build, pictures):
    losses = build(method).train().losses(pictures(4, 48, 48), torch.tensor([0, 1, 2, 0]))
    assert "loss" in losses
    assert all(value.ndim == 0 and value.isfinite() for value in losses.values())


def test_every_trainable_parameter_learns(method, build, pictures):
    """By the second step: layers behind one that starts at zero get their first gradient when that has moved."""
    model = build(method).train()
    images, labels = pictures(6, 64, 64), torch.tensor([0, 1, 2, 0, 1, 2])
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        model.losses(images, labels)["loss"].backward()
        optimiser.step()
    trainable = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert trainable
    assert [name for name, gradient in trainable.items() if gradient is None] == []
    assert [name for name, gradient in trainable.items() if not gradient.isfinite().all()] == []
    assert [name for name, gradient in trainable.items() if gradient.ndim > 1 and not gradient.any()] == []


def test_losses_need_classes(method, build, pictures):
    with pytest.raises(InputError, match="built without num_classes; give it to create_model"):
        build(method, num_classes=None).losses(pictures(2, 32, 32), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([0]),
        torch.tensor([[0], [1]]),
        torch.tensor([0, 3]),
        torch.tensor([-1, 0]),
        torch.tensor([0.0, 1.0]),
    ],
    ids=["too few", "2-D", "no such class", "negative", "float"],
)
def test_wrong_labels(method, labels, build, pictures):
    with pytest.raises(InputError, match="labels must be"):
        build(method).losses(pictures(2, 32, 32), labels)


def test_a_step_lowers_the_loss(method, build, pictures):
    model = build(method).train()
    images, labels = pictures(6, 48, 48), torch.tensor([0, 1, 2, 0, 1, 2])
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    before = model.losses(images, labels)["loss"]
    for _ in range(3):
        optimiser.zero_grad()
        model.losses(images, labels)["loss"].backward()
        optimiser.step()
    assert model.losses(images, labels)["loss"] < before


def test_an_own_checkpoint_gives_equal_descriptors(method, build, save, pictures, tmp_path):
    model = build(method, seed=1)
    loaded = rb.create_model(method, weights=save(model, tmp_path / "own.ckpt"))
    images = pictures(2, 48, 40)
    assert torch.equal(loaded.describe(images), model.describe(images))
    assert loaded.settings == model.settings
    assert not loaded.training
    assert loaded.weights_source == f"own.ckpt ({OWN})"
    assert (loaded.unused_weights, loaded.absent_weights) == ({}, ())


def test_a_checkpoint_of_the_trainer_too(method, build, pictures, tmp_path):
    model = build(method, seed=1)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "own.ckpt", weights_only=True)
    images = pictures(1, 48, 40)
    assert torch.equal(rb.create_model(method, weights=tmp_path / "own.ckpt").describe(images), model.describe(images))


def test_the_training_set_travels_with_the_weights(method, build, save, tmp_path):
    model = build(method)
    model.trained_on = "synthetic train: 5 images, 3 classes"
    loaded = rb.create_model(method, weights=save(model, tmp_path / "own.ckpt"))
    assert loaded.trained_on == "synthetic train: 5 images, 3 classes"


def test_what_is_stored_is_plain_json(method, build):
    entry = json.loads(build(method).own_entry())
    assert entry["method"] == method
    assert entry["settings"]["num_classes"] == 3
    again = METHODS.create(method, entry["settings"])
    assert json.loads(again.own_entry())["settings"] == entry["settings"]


def test_recipes_and_card(method, build):
    model = build(method)
    assert {"base", "published"} <= set(model.recipes)
    assert model.card.title
    assert model.card.paper
    assert all(0 < figure.map < 1 and figure.source for figure in model.card.published)


def test_predicting_is_describing(method, build, pictures):
    model, images = build(method), pictures(2, 48, 40)
    result = model.predict_step({"images": images, "indices": torch.tensor([4, 7])})
    assert result["indices"].tolist() == [4, 7]
    assert torch.equal(result["descriptors"], model.describe(images))
    assert "local_features" not in result


def test_predicting_at_other_scales(method, build, pictures):
    model, images = build(method), pictures(2, 48, 40)
    model.extraction_scales = (0.5,)
    result = model.predict_step({"images": images, "indices": torch.arange(2)})
    assert torch.equal(result["descriptors"], model.describe(images, scales=(0.5,)))


def test_local_features_or_a_clear_no(method, build, pictures):
    model, images = build(method), pictures(2, 64, 48)
    if not model.has_local_features:
        with pytest.raises(InputError, match=f"'{method}' has no local features; delg"):
            model.local_features(images)
        return
    found = model.local_features(images)
    assert len(found) == 2
    for features in found:
        assert len(features) > 0
        assert (features.scores.diff() <= 0).all()
        torch.testing.assert_close(features.descriptors.norm(dim=1), torch.ones(len(features)), atol=1e-5, rtol=0)
        assert (features.keypoints >= 0).all()
        assert (features.keypoints <= torch.tensor([48, 64]) + 16 / features.scales[:, None]).all()
