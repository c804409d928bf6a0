"""`create_model` with a checkpoint: what fits, what conflicts."""

import pytest
import timm
import torch

import retrieval_bench as rb
from retrieval_bench.methods.registry import METHODS, register_method
from retrieval_bench.settings.errors import InputError


def test_an_unknown_method_gives_the_nearest():
    with pytest.raises(InputError, match=r"unknown method 'dleg'; did you mean 'delg'\?"):
        rb.create_model("dleg")


def test_a_part_that_is_no_module_is_refused():
    register_method("not_a_module_for_test")(lambda: 5)
    try:
        with pytest.raises(InputError, match="is no RetrievalModule"):
            rb.create_model("not_a_module_for_test")
    finally:
        del METHODS._parts["not_a_module_for_test"]


@pytest.mark.parametrize("method", ["gem", "delg"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dim": 32}, "trained with dim=16, but dim=32 was asked for; leave dim out"),
        ({"backbone": "resnet18"}, "trained with backbone=test_resnet, but backbone=resnet18"),
        ({"pooling": "mac"}, r"pooling\.p"),
        ({"num_classes": 4}, "trained with num_classes=3, but num_classes=4"),
    ],
    ids=["dim", "backbone", "pooling", "classes"],
)
def test_what_conflicts_with_the_weights_is_named_with_both_values(method, given, said, build, save, tmp_path):
    file = save(build(method), tmp_path / "own.ckpt")
    with pytest.raises(InputError, match=said) as caught:
        rb.create_model(method, weights=file, **given)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("method", ["gem", "delg"])
def test_what_agrees_with_the_weights_may_be_said(method, build, save, tmp_path):
    file = save(build(method), tmp_path / "own.ckpt")
    model = rb.create_model(method, weights=file, backbone="test_resnet", pooling="gem", dim=16, num_classes=3)
    assert model.descriptor_dim == 16


@pytest.mark.parametrize("method", ["gem", "delg"])
def test_the_dimension_that_was_left_to_the_method_may_be_said(method, build, save, tmp_path):
    built = build(method, dim=None)
    model = rb.create_model(method, weights=save(built, tmp_path / "own.ckpt"), dim=built.descriptor_dim)
    assert model.descriptor_dim == built.descriptor_dim


@pytest.mark.parametrize("method", ["gem", "delg"])
def test_naming_a_part_keeps_the_options_that_the_weights_hold(method, build, save, tmp_path):
    built = build(method, pooling={"name": "regional", "whiten": True}, loss={"name": "arcface", "margin": 0.4})
    model = rb.create_model(method, weights=save(built, tmp_path / "a.ckpt"), pooling="regional", loss="arcface")
    assert model.settings["pooling"] == built.settings["pooling"]
    assert model.loss.margin == 0.4


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("delg", {"max_features": 7}),
        ("delg", {"local_scales": [1.0]}),
        ("delg", {"score_rule": "fixed", "score_threshold": 0.1}),
        ("delg", {"attention_weight": 0.5}),
        ("gem", {"merge": "power-mean"}),
        ("gem", {"loss": {"name": "arcface", "margin": 0.5}}),
    ],
    ids=str,
)
def test_what_no_weight_depends_on_can_be_changed(method, given, build, save, tmp_path):
    model = rb.create_model(method, weights=save(build(method), tmp_path / "own.ckpt"), **given)
    for key, value in given.items():
        held = model.settings[key]
        assert held == value if not isinstance(value, dict) else value.items() <= held.items()


@pytest.mark.parametrize("method", ["gem", "delg"])
def test_a_checkpoint_does_not_need_the_weights_that_its_backbone_started_from(method, build, save, pictures, tmp_path):
    start = tmp_path / "imagenet.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), start)
    model = build(method, backbone={"name": "test_resnet", "weights": str(start)})
    file = save(model, tmp_path / "own.ckpt")
    start.unlink()
    images = pictures(1, 40, 40)
    assert torch.equal(rb.create_model(method, weights=file).describe(images), model.describe(images))
