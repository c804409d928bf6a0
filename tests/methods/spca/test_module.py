"""SpCa as a preset over parts: what fits, what it starts from, what it refuses."""

import pytest
import torch
from numpy.testing import assert_allclose

import retrieval_bench as rb
from retrieval_bench.methods.optimisation import parameter_groups
from retrieval_bench.pooling.spca.fusers import FUSERS
from retrieval_bench.settings.errors import InputError

LABELS = torch.tensor([0, 1, 2, 0])


@pytest.fixture(params=FUSERS)
def fuser(request):
    return request.param


@pytest.fixture
def small(build):
    def make(**given):
        return build("spca", **{"codebook_size": 4, "local_dim": 8, "powers": 2, **given})

    return make


def test_the_defaults_are_the_published_evaluation_s():
    model = rb.create_model("spca", backbone="test_resnet")
    chosen = {key: model.settings[key] for key in ("fuser", "codebook_size", "local_dim", "powers", "first_power")}
    assert chosen == {"fuser": "cro", "codebook_size": 16, "local_dim": 128, "powers": 1, "first_power": 2}
    assert model.descriptor_dim == 2048
    assert model.settings["loss"] == {"name": "arcface", "margin": 0.15, "scale": 32.0}
    assert not model.pooling.p.requires_grad
    assert float(model.pooling.p) == 3
    protocol = model.protocol
    assert_allclose(protocol.scales, [1, 2**0.5, 2**-0.5])
    assert (protocol.scale_resize, protocol.small_side, protocol.small_target) == ("scale-factor", 36, 64)
    assert (protocol.image_size, protocol.query_size, protocol.exif) == (1024, "object-scale", "ignore")


def test_losses_by_name(fuser, small, pictures):
    losses = small(fuser=fuser).train().losses(pictures(4, 64, 64), LABELS)
    assert set(losses) == {"loss"}
    assert losses["loss"].isfinite()


@pytest.mark.parametrize("size", [(8, 500), (1, 1), (64, 48)], ids=str)
def test_descriptors_of_every_fuser(fuser, size, small, pictures):
    model = small(fuser=fuser)
    described = model.describe(pictures(2, *size))
    assert described.shape == (2, 16)
    assert_allclose(described.norm(dim=1), 1.0, rtol=1e-5)
    assert not torch.allclose(described[0], described[1])


def test_after_one_step_every_parameter_learns(fuser, small, pictures):
    """At the first, attention that starts at zero passes no gradient."""
    model, images = small(fuser=fuser).train(), pictures(4, 64, 96)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        model.losses(images, LABELS)["loss"].backward()
        optimiser.step()
    heads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad and "backbone" not in name}
    assert [name for name, gradient in heads.items() if gradient is None or not gradient.isfinite().all()] == []
    assert [name for name, gradient in heads.items() if not gradient.any()] == []


def test_priors_and_variances_decay_as_in_the_published_training(small):
    model = small()
    groups = {group["weight_decay"]: group["params"] for group in parameter_groups(model, model.recipes["published"])}
    decayed = {id(parameter) for parameter in groups[1e-4]}
    context = dict(model.context.named_parameters())
    assert {name for name, parameter in context.items() if id(parameter) in decayed} == {
        "clusters",
        "prior",
        "variance",
        "project.weight",
    }


@pytest.mark.parametrize("pooling", ["mac", "spoc", "gemp", "rmac"])
@pytest.mark.parametrize("kind", ["cro", "cat", "had", "dec"])
def test_any_pooling_over_the_fused_map(kind, pooling, small, pictures):
    described = small(fuser=kind, pooling=pooling).describe(pictures(1, 64, 64))
    assert not torch.allclose(described, small(fuser=kind).describe(pictures(1, 64, 64)))


def test_an_already_pooled_fuser_says_so(small, pictures):
    with pytest.raises(
        InputError, match=r"'orth' is already pooled .* pooling=mac has no map .* set fuser=cro"
    ) as caught:
        small(fuser="orth", pooling="mac")
    assert "\n" not in str(caught.value)
    described = [
        small(fuser="orth", pooling=pooling).describe(pictures(1, 64, 64))
        for pooling in (None, "gem", {"name": "gem", "p": 6.0})
    ]
    assert torch.equal(described[0], described[1])
    assert not torch.allclose(described[0], described[2])


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext"])
def test_channels_come_from_the_backbone(backbone, fuser, small, pictures):
    model = small(fuser=fuser, backbone=backbone)
    assert model.context.project.in_channels == model.backbone.channels[-1]
    assert model.describe(pictures(1, 160, 160), scales=(1.0,)).isfinite().all()


def test_heads_must_divide_the_channels(small):
    with pytest.raises(InputError, match="heads=7 does not divide the 96 channels of 'test_resnet'"):
        small(heads=7)
    assert small(heads=7, fuser="cat").settings["heads"] == 7


def test_the_options_change_the_descriptor(small, pictures):
    images = pictures(1, 96, 128)

    def described(**given):
        model = small(**given)
        torch.manual_seed(0)
        model.fuser.attention.output.weight.data.normal_()  # at zero the context does not count yet
        return model.describe(images)

    usual = described()
    for given in ({"first_power": 1}, {"powers": 3}, {"codebook_size": 5}, {"local_dim": 9}, {"heads": 4}):
        assert not torch.allclose(usual, described(**given)), given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fuser": "crs"}, "did you mean 'cro'"),
        ({"fuser": "fur"}, "unknown value 'fur'"),
        ({"codebook_size": 0}, "codebook_size must be at least 1, got 0"),
        ({"local_dim": -1}, "local_dim must be at least 1, got -1"),
        ({"powers": 0}, "powers must be at least 1, got 0"),
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"first_power": 3}, "first_power=3"),
        ({"power": 2}, "did you mean 'powers'"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(given, said, small):
    with pytest.raises(InputError, match=said):
        small(**given)
