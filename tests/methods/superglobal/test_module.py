"""SuperGlobal's switches, swapped parts, training, checkpoints and errors."""

import pytest
import torch
import torch.nn.functional as F

import retrieval_bench as rb
from retrieval_bench.backbones.relup import ReLUP
from retrieval_bench.methods.merging import unit
from retrieval_bench.methods.superglobal.checkpoint import UNUSED, translate
from retrieval_bench.pooling.gem import generalised_mean
from retrieval_bench.pooling.rgem import regional_gem
from retrieval_bench.settings.errors import InputError

OFF = {"gemp": False, "rgem": False, "sgem": False, "relup": False, "relup_inner": "follow"}


@pytest.fixture
def superglobal(build):
    """Build the method with a tiny backbone and a small queue."""
    return lambda **given: build("superglobal", **{"queue_size": 32, **given})


def plain_scale(model, level):
    """One scale without any module: GeM, L2, linear layer."""
    pooled = model.pooling(model.backbone(model.normalise(level))[-1])
    return model.projection(F.normalize(pooled, dim=1))


def test_everything_off_is_gem_l2_linear_and_a_raw_mean(superglobal, pictures):
    model, images = superglobal(**OFF), pictures(2, 60, 90)
    assert not any(isinstance(module, ReLUP) for module in model.modules())
    with torch.no_grad():
        levels = [
            images if scale == 1 else F.interpolate(images, (int(60 * scale), int(90 * scale)), mode="bilinear")
            for scale in (0.7071, 1.0, 1.4142)
        ]
        expected = unit(torch.stack([plain_scale(model, level) for level in levels]).mean(dim=0))
    torch.testing.assert_close(model.describe(images), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "changed", [{"gemp": False}, {"rgem": False}, {"sgem": False}, {"relup": False}, {"sgem_p": 10.0}], ids=str
)
def test_each_module_matters(superglobal, pictures, changed):
    images = pictures(2, 128, 96)
    assert (superglobal().describe(images) - superglobal(**changed).describe(images)).abs().max() > 1e-5


def test_the_slip_in_the_first_stage(superglobal, pictures):
    def described(**options):
        model = superglobal(**options)
        # Residual branches start at zero, which would hide what happens inside them.
        torch.nn.init.ones_(model.backbone.body.layer1[0].bn2.weight)
        return model.describe(pictures(1, 64, 64))

    followed, always = described(relup=False, relup_inner="follow"), described(relup=False)
    assert (followed - always).abs().max() > 1e-6
    assert torch.equal(described(relup_inner="follow"), described())


def test_the_floor_is_an_option_of_the_backbone(superglobal):
    def floors(**options):
        return {module.alpha for module in superglobal(**options).backbone.modules() if isinstance(module, ReLUP)}

    assert floors() == {0.014}
    assert floors(backbone={"name": "test_resnet", "relup": 0.1}) == {0.1}


def test_antialias_only_touches_smaller_images(superglobal, pictures):
    images = pictures(1, 64, 64)
    plain, smooth = superglobal(), superglobal(antialias=True)
    assert torch.equal(plain.describe(images, scales=(1.0,)), smooth.describe(images, scales=(1.0,)))
    assert not torch.allclose(plain.describe(images, scales=(0.5,)), smooth.describe(images, scales=(0.5,)))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 2000), (91, 40)], ids=str)
def test_any_size(superglobal, pictures, size):
    described = superglobal().describe(pictures(1, *size))
    assert described.isfinite().all()


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mac", {"gemp": False, "rgem": True}),
        ("gemmp", {"gemp": False, "rgem": True}),
        ("rgem", {"gemp": False, "rgem": False}),
        ({"name": "sgem", "then": "rgem"}, {"gemp": False, "rgem": False}),
        ({"name": "gem", "p": 2.0}, {"gemp": True, "rgem": True}),
    ],
    ids=str,
)
def test_a_swapped_pooling_takes_its_place(superglobal, pictures, pooling, expected):
    model, images = superglobal(pooling=pooling), pictures(1, 96, 96)
    assert {key: model.settings[key] for key in expected} == expected
    with torch.no_grad():
        level = model.backbone(model.normalise(images))[-1]
        level = regional_gem(level) if expected["rgem"] else level
        pooled = generalised_mean(level, 4.6, 1e-8) if expected["gemp"] else model.pooling(level)
        described = unit(model.projection(unit(pooled)))
    torch.testing.assert_close(model.describe(images, scales=(1.0,)), described)


def test_training_is_that_of_cvnet_global(superglobal, pictures):
    model, bare = superglobal(), superglobal(**OFF)
    bare.load_state_dict(model.state_dict())
    images, labels = pictures(4, 64, 64), torch.tensor([0, 0, 1, 1])
    for mode in (True, False):
        ours, theirs = model.train(mode).losses(images, labels), bare.train(mode).losses(images, labels)
        assert {name: value.item() for name, value in ours.items()} == {n: v.item() for n, v in theirs.items()}
    normalised = model.train().normalise(images)
    pooled = model.pooling(model.backbone(normalised)[-1])
    torch.testing.assert_close(model.embed(normalised), model.projection(pooled))


def test_losses_leave_the_modules_on(superglobal, pictures):
    model, images = superglobal(), pictures(2, 64, 64)
    before = model.describe(images)
    model.losses(images, torch.tensor([0, 1]))
    assert torch.equal(model.describe(images), before)
    with pytest.raises(ValueError, match="broken"), model.as_trained():
        raise ValueError("broken")
    assert torch.equal(model.describe(images), before)


def test_the_pooling_that_is_trained_learns(superglobal, pictures):
    model = superglobal().train()
    model.losses(pictures(4, 64, 64), torch.tensor([0, 0, 1, 1]))["loss"].backward()
    assert model.pooling.p.grad.isfinite().all()
    assert model.pooling.p.grad.abs() > 0


def test_protocol(superglobal):
    protocol = superglobal().protocol
    assert (protocol.channel_order, protocol.image_size, protocol.query_size) == ("bgr", None, "full")
    assert protocol.scales == (0.7071, 1.0, 1.4142)
    assert (protocol.scale_resize, protocol.merge) == ("truncate", "max")
    assert superglobal(antialias=True).protocol.scale_resize == "truncate-antialias"
    assert superglobal(sgem=False).protocol.merge == "raw-mean"
    finite = superglobal(sgem_p=10.0).protocol
    assert (finite.merge, finite.merge_exponent) == ("shifted-power", 10.0)


def test_recipes_have_no_second_stage():
    recipes = rb.create_model("superglobal", backbone="test_resnet", dim=8).recipes
    assert {recipe.then for recipe in recipes.values()} == {None}


def test_checkpoints_of_cvnet(build, save, pictures, tmp_path):
    trained = build("cvnet", seed=1, queue_size=32)
    file = save(trained, tmp_path / "cvnet.ckpt")
    model, images = rb.create_model("superglobal", weights=file, **OFF), pictures(2, 64, 64)
    with torch.no_grad():
        expected = unit(plain_scale(trained, images))
    torch.testing.assert_close(model.describe(images, scales=(1.0,)), expected)
    assert {key.partition(".")[0] for key in model.unused_weights} == {"matcher"}
    assert rb.create_model("superglobal", weights=file).settings["relup"]


def test_modules_of_the_published_code_without_use():
    state = {"globalmodel.stem.conv.weight": torch.zeros(64, 3, 7, 7), "globalmodel.head.fc.weight": torch.zeros(8, 8)}
    state |= {
        f"globalmodel.s{stage}.b{block}.f.c.weight": torch.zeros(1)
        for stage, count in enumerate((3, 4, 6, 3), 1)
        for block in range(1, count + 1)
    }
    idle = {f"globalmodel.{name}": torch.zeros(1) for name in ("seb1.weight", "seb2.bias", "sefc.weight", "pool.p")}
    found = translate(state | idle, {})
    assert set(found.unused) == set(idle)
    assert set(found.unused.values()) == {UNUSED["globalmodel.seb1."]}
    assert not any(key in found.state for key in idle)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sgem_p": 0.0}, "sgem_p must be positive, or null.*got 0.0"),
        ({"sgem_p": float("nan")}, "sgem_p must be positive"),
        ({"sgem_p": 3.0, "sgem": False}, "sgem_p=3.0 needs sgem=true"),
        ({"relup_inner": "folow"}, "did you mean 'follow'"),
        ({"rgem_": True}, "unknown option.*did you mean 'rgem'"),
        (
            {"backbone": "convnext_atto"},
            r"superglobal: ReLUP needs.*\(set model.relup=false model.relup_inner=follow\)",
        ),
    ],
)
def test_options_that_do_not_fit(superglobal, options, said):
    with pytest.raises(InputError, match=said):
        superglobal(**options)


def test_backbones_without_rectifiers_do_without_relup(superglobal, pictures):
    model = superglobal(backbone="convnext_atto", relup=False, relup_inner="follow", num_classes=None)
    assert model.describe(pictures(1, 64, 64)).isfinite().all()
