"""`create_model` normalises images as the backbone's start expects; published checkpoints keep the method's own."""

import json

import pytest
import timm
import torch

import retrieval_bench as rb
from retrieval_bench.methods.cfcd.module import Cfcd
from retrieval_bench.methods.checkpoints import CheckpointFormat, Translation
from retrieval_bench.weights.own_entry import OWN

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SMALL = {"depth": 2, "embed_dim": 32, "num_heads": 2}
BY_HAND = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "channel_order": "bgr"}


def started(tmp_path, name, **options):
    """A backbone that starts from a file in timm's form."""
    file = tmp_path / "start.pth"
    torch.save(timm.create_model(name, **options).state_dict(), file)
    return {"name": name, "weights": str(file), **options}


def values(model):
    """Mean, deviation and channel order of the protocol, which the buffers share."""
    protocol = model.protocol
    assert torch.equal(model.mean, torch.tensor(protocol.mean).view(1, 3, 1, 1))
    assert torch.equal(model.std, torch.tensor(protocol.std).view(1, 3, 1, 1))
    assert not {"mean", "std"} & set(model.state_dict())
    return (protocol.mean, protocol.std), protocol.channel_order


def seen(model, images):
    """What the backbone is given for images at scale 1."""
    given = []
    handle = model.backbone.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    model.describe(images, scales=(1.0,))
    handle.remove()
    return given[0]


CASES = [
    ("vit_base_patch16_clip_224.openai", SMALL, CLIP),
    ("vit_base_patch16_siglip_224.v2_webli", SMALL, HALVES),
    ("vit_small_patch16_224.augreg_in21k", SMALL, HALVES),
    ("vit_small_patch16_224.dino", SMALL, IMAGENET),
    ("resnet10t.c3_in1k", {}, IMAGENET),
]


@pytest.mark.parametrize("method", ["gem", "cfcd", "dolg"])
@pytest.mark.parametrize(("name", "options", "expected"), CASES, ids=lambda value: value if type(value) is str else "")
def test_the_backbone_sees_what_its_weights_expect(method, name, options, expected, build, pictures, tmp_path):
    model = build(method, backbone=started(tmp_path, name, **options))
    assert values(model) == (expected, "rgb")
    assert model.normalisation_source == f"timm's configuration of {name}"
    images = pictures(1, 64, 48)
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in expected)
    assert torch.equal(seen(model, images), (images - mean) / std)


@pytest.mark.parametrize(("method", "order"), [("gem", "rgb"), ("cfcd", "bgr"), ("dolg", "bgr")])
def test_a_random_start_and_who_asks_for_it_keep_the_methods_own(method, order, build, pictures, tmp_path):
    part = {**started(tmp_path, "test_resnet"), "normalisation": "method"}
    for model in (build(method), build(method, backbone=part)):
        assert values(model) == (IMAGENET, order)
        assert model.normalisation_source == f"method {method}"
    assert values(build(method, backbone=started(tmp_path, "test_resnet"))) == (HALVES, "rgb")


def test_the_rest_of_the_protocol_stays_the_methods(build, tmp_path):
    changed = {"mean", "std", "channel_order"}
    own, other = (
        build("dolg", **given).protocol.model_dump(exclude=changed)
        for given in ({}, {"backbone": started(tmp_path, "test_resnet")})
    )
    assert own == other


@pytest.mark.parametrize("method", ["gem", "cfcd"])
def test_by_hand_comes_before_all(method, build, save, pictures, tmp_path):
    wanted = ((tuple(BY_HAND["mean"]), tuple(BY_HAND["std"])), "bgr")
    file = save(build(method, backbone=started(tmp_path, "test_resnet")), tmp_path / "own.ckpt")
    models = [
        build(method, backbone={**started(tmp_path, "test_resnet"), "normalisation": BY_HAND}),
        rb.create_model(method, weights=file, backbone={"name": "test_resnet", "normalisation": BY_HAND}),
    ]
    images = pictures(1, 40, 40)
    mean, std = (torch.tensor(BY_HAND[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    for model in models:
        assert values(model) == wanted
        assert model.normalisation_source == "backbone.normalisation, set by hand"
        assert torch.equal(seen(model, images), ((images - mean) / std).flip(1))


@pytest.mark.parametrize("method", rb.list_methods())
@pytest.mark.parametrize("how", ["weights", "by hand", "random"])
def test_a_checkpoint_of_ours_is_built_with_what_it_was_trained_with(method, how, build, save, pictures, tmp_path):
    part = {
        "weights": started(tmp_path, "test_resnet"),
        "by hand": {"name": "test_resnet", "normalisation": BY_HAND},
        "random": "test_resnet",
    }[how]
    model = build(method, backbone=part)
    file = save(model, tmp_path / "own.ckpt")
    (tmp_path / "start.pth").unlink(missing_ok=True)
    loaded = rb.create_model(method, weights=file)
    assert values(loaded) == values(model)
    assert loaded.normalisation_source == model.normalisation_source
    assert "normalisation" not in loaded.settings["backbone"]
    assert loaded.own_entry() == model.own_entry()
    images = pictures(1, 48, 40)
    assert torch.equal(loaded.describe(images), model.describe(images))


def test_methods_that_load_each_others_checkpoints_take_it_over(build, save, tmp_path):
    model = build("cvnet", backbone=started(tmp_path, "test_resnet"))
    loaded = rb.create_model("superglobal", weights=save(model, tmp_path / "own.ckpt"))
    assert values(loaded) == values(model) == (HALVES, "rgb")


def test_an_older_checkpoint_is_built_with_the_methods_own(build, save, tmp_path):
    model = build("cfcd", backbone=started(tmp_path, "test_resnet"))
    older = {key: value for key, value in json.loads(model.own_entry()).items() if key != "normalisation"}
    file = save(model, tmp_path / "own.ckpt", **{OWN: json.dumps(older)})
    assert values(rb.create_model("cfcd", weights=file)) == (IMAGENET, "bgr")


def test_given_its_start_again_a_checkpoint_keeps_its_own(build, save, tmp_path):
    file = save(build("cfcd"), tmp_path / "own.ckpt")
    loaded = rb.create_model("cfcd", weights=file, backbone=started(tmp_path, "test_resnet"))
    assert values(loaded) == (IMAGENET, "bgr")
    assert loaded.normalisation_source == "method cfcd"


@pytest.mark.parametrize(("given", "expected"), [(None, (IMAGENET, "bgr")), ("method", (IMAGENET, "bgr"))])
def test_the_methods_own_can_be_asked_of_a_checkpoint(given, expected, build, save, tmp_path):
    model = build("cfcd", backbone=started(tmp_path, "test_resnet"))
    file = save(model, tmp_path / "own.ckpt")
    loaded = rb.create_model("cfcd", weights=file, backbone={"name": "test_resnet", "normalisation": given})
    assert values(loaded) == (values(model) if given is None else expected)


@pytest.mark.parametrize("start", [False, True])
def test_published_weights_keep_the_methods_protocol(start, build, tmp_path, monkeypatch):
    """Whatever the backbone would have started from: all of its tensors are the published ones."""
    settings = {"backbone": {"name": "test_resnet"}, "dim": 16, "num_classes": 3}
    authors = CheckpointFormat(
        "authors'", lambda keys: "projection.weight" in keys, lambda state, _: Translation(state, settings)
    )
    monkeypatch.setattr(Cfcd, "formats", (authors,))
    usual = build("cfcd")
    torch.save(usual.state_dict(), tmp_path / "published.pth")
    given = {"backbone": started(tmp_path, "test_resnet")} if start else {}
    model = rb.create_model("cfcd", weights=tmp_path / "published.pth", **given)
    assert model.protocol == usual.protocol
    assert values(model) == (IMAGENET, "bgr")
    assert model.normalisation_source == "method cfcd"


@pytest.mark.parametrize("method", ["dolg", "gem"])
def test_the_backbone_of_a_checkpoint_brings_its_values_to_another_method(method, build, save, pictures, tmp_path):
    """As it was trained under a BGR method, so it goes on, whatever the method above it."""
    file = save(build("cfcd"), tmp_path / "final.ckpt")
    model = build(method, backbone={"name": "test_resnet", "weights": str(file)})
    assert values(model) == (IMAGENET, "bgr")
    assert model.normalisation_source == "final.ckpt, a checkpoint of cfcd"
