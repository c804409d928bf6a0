"""DELG's two branches: losses, stopped gradients, local features in one pass with global ones."""

import math

import pytest
import torch
from numpy.testing import assert_allclose

import retrieval_bench as rb
from retrieval_bench.settings.errors import InputError

LABELS = torch.tensor([0, 1, 2, 0])
VARIANTS = ["paper", "pytorch"]


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


def reached(model, loss) -> set[str]:
    """First words of the parameters that get a gradient from `loss`."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True, retain_graph=True)
    return {name.split(".")[0] for (name, _), gradient in zip(named, gradients, strict=True) if gradient is not None}


def test_losses_by_name(variant, build, pictures):
    losses = build("delg", variant=variant).losses(pictures(4, 48, 48), LABELS)
    expected = {"loss", "global", "attention"} | ({"reconstruction"} if variant == "paper" else set())
    assert set(losses) == expected


def test_the_default_weights_are_the_paper_s(build, pictures):
    losses = build("delg").losses(pictures(4, 48, 48), LABELS)
    expected = losses["global"] + losses["attention"] + 10 * losses["reconstruction"]
    assert_allclose(losses["loss"].item(), expected.item(), rtol=1e-6)


def test_the_loss_is_the_weighted_sum(variant, build, pictures):
    model = build("delg", variant=variant, attention_weight=0.5, reconstruction_weight=3.0)
    losses = model.losses(pictures(4, 48, 48), LABELS)
    expected = losses["global"] + 0.5 * losses["attention"] + 3 * losses.get("reconstruction", 0)
    assert_allclose(losses["loss"].item(), expected.item(), rtol=1e-6)


def test_local_losses_stop_before_the_backbone(variant, build, pictures):
    model = build("delg", variant=variant).train()
    losses = model.losses(pictures(4, 48, 48), LABELS)
    for name in set(losses) - {"loss", "global"}:
        assert reached(model, losses[name]) == {"local"}, name


def test_the_global_loss_does_not_reach_the_local_branch(variant, build, pictures):
    model = build("delg", variant=variant).train()
    found = reached(model, model.losses(pictures(4, 48, 48), LABELS)["global"])
    assert found == {"backbone", "projection", "loss"} | ({"pooling"} if variant == "pytorch" else set())


def test_what_a_variant_fixes():
    paper = rb.create_model("delg", backbone="test_resnet")
    assert paper.descriptor_dim == 2048
    assert paper.settings["local_dim"] == 128
    assert paper.settings["loss"] == {"name": "arcface", "margin": 0.1, "scale": 45.25}
    assert paper.protocol.channel_order == "rgb"
    assert_allclose(paper.protocol.scales, [2**-0.5, 1, 2**0.5])
    assert_allclose(paper.settings["local_scales"], [0.25, 0.3535, 0.5, 0.7071, 1, 1.4142, 2], rtol=2e-4)
    other = rb.create_model("delg", backbone="test_resnet", variant="pytorch")
    assert other.descriptor_dim == 512
    assert other.settings["local_dim"] == 512
    assert other.settings["loss"] == {"name": "curricularface", "margin": 0.15, "scale": 30.0}
    assert (other.protocol.channel_order, other.protocol.image_size, other.protocol.exif) == ("bgr", None, "apply")


def test_bgr_weights_see_bgr(build, pictures):
    model, images = build("delg", variant="pytorch"), pictures(1, 8, 8)
    red = (images[:, 0] - 0.485) / 0.229
    assert_allclose(model.normalise(images)[:, 2], red, rtol=1e-5)


@pytest.mark.parametrize(
    "given",
    [
        {"variant": "papr"},
        {"score_rule": "best"},
        {"max_features": 0},
        {"max_features": -1},
        {"local_scales": [0.0]},
        {"local_scales": [1.0, -1.0]},
        {"local_dim": -4},
        {"attention_dim": 0},
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(given, build, pictures):
    with pytest.raises(InputError):
        build("delg", **given).local_features(pictures(1, 64, 64))


def test_features_of_one_scale_lie_on_the_stride_grid(build, pictures):
    model = build("delg", local_scales=[0.5])
    (found,) = model.local_features(pictures(1, 128, 96))
    stride = model.backbone.strides[0]
    assert stride == 16
    assert len(found) == math.ceil(64 / 16) * math.ceil(48 / 16)
    columns_rows = found.keypoints * 0.5 / stride
    assert torch.equal(columns_rows, columns_rows.round())
    assert columns_rows.amax(dim=0).tolist() == [2, 3]


def test_no_more_features_than_asked_for(build, pictures):
    images = pictures(1, 96, 96)
    (few,) = build("delg", max_features=7).local_features(images)
    (many,) = build("delg").local_features(images)
    assert len(few) == 7
    torch.testing.assert_close(few.scores, many.scores[:7])
    torch.testing.assert_close(few.keypoints, many.keypoints[:7])


@pytest.mark.parametrize("asked", [None, (1.0,), (0.6, 1.0, 1.7)], ids=str)
def test_one_pass_gives_what_two_give(variant, asked, build, pictures):
    model = build("delg", variant=variant, score_threshold=0.5)
    images = pictures(2, 70, 52)
    model.extraction_scales, model.extract_local = asked, True
    together = model.predict_step({"images": images, "indices": torch.tensor([3, 5])})
    assert together["indices"].tolist() == [3, 5]
    torch.testing.assert_close(together["descriptors"], model.describe(images, scales=asked))
    for one, other in zip(together["local_features"], model.local_features(images), strict=True):
        assert torch.equal(one.keypoints, other.keypoints)
        torch.testing.assert_close(one.descriptors, other.descriptors)
        torch.testing.assert_close(one.scores, other.scores)
        assert torch.equal(one.scales, other.scales)


def test_predicting_local_features_leaves_no_gradient(build, pictures):
    model = build("delg")
    model.extract_local = True
    with torch.inference_mode():
        found = model.predict_step({"images": pictures(1, 48, 48), "indices": torch.arange(1)})
    assert not found["descriptors"].requires_grad
    assert not found["local_features"][0].descriptors.requires_grad


def test_attention_maps_are_the_scores(build, pictures):
    model, images = build("delg"), pictures(2, 64, 48)
    attention = model.attention_maps(images)
    assert attention.shape == (2, 1, 4, 3)
    (found,) = build("delg", local_scales=[1.0]).local_features(images[:1])
    assert_allclose(found.scores, attention[0].flatten().sort(descending=True).values, rtol=1e-5)


def test_weights_without_the_local_branch_describe_but_give_no_local_features(build, pictures, tmp_path):
    model = build("delg", backbone="resnet18", variant="pytorch", local_dim=8)
    names = {"projection.": "globalmodel.head.fc.", "pooling.": "globalmodel.head.pool."}
    published = {}
    for key, value in model.state_dict().items():
        for ours, theirs in names.items():
            if key.startswith(ours):
                published[key.replace(ours, theirs)] = value
        if key.startswith("backbone.body."):
            published[published_name(key.removeprefix("backbone.body."))] = value
    torch.save({"model_state": published}, tmp_path / "delg.pyth")
    loaded = rb.create_model("delg", weights=tmp_path / "delg.pyth")
    images = pictures(1, 48, 48)
    assert torch.equal(loaded.describe(images), model.describe(images))
    assert all(name.startswith("local.") for name in loaded.absent_weights)
    assert "local.hidden.weight" in loaded.absent_weights
    with pytest.raises(InputError, match=r"delg\.pyth .* hold no local branch"):
        loaded.local_features(images)


def published_name(key: str) -> str:
    """pycls's name of a timm ResNet tensor."""
    stage, _, rest = key.partition(".")
    if not stage.startswith("layer"):
        return f"globalmodel.stem.{'conv' if stage == 'conv1' else 'bn'}.{rest}"
    block, _, rest = rest.partition(".")
    parts = {"downsample.0.": "proj.", "downsample.1.": "bn."}
    parts |= {f"conv{n}.": f"f.{x}." for n, x in zip("123", "abc", strict=True)}
    parts |= {f"bn{n}.": f"f.{x}_bn." for n, x in zip("123", "abc", strict=True)}
    ours = next(part for part in parts if rest.startswith(part))
    return f"globalmodel.s{stage[-1]}.b{int(block) + 1}.{parts[ours]}{rest.removeprefix(ours)}"


def test_without_the_local_branch_predicting_them_is_refused_too(build, pictures):
    model = build("delg")
    model.absent_weights, model.extract_local = ("local.hidden.weight",), True
    with pytest.raises(InputError, match="hold no local branch"):
        model.predict_step({"images": pictures(1, 48, 48), "indices": torch.arange(1)})
