"""`create_model` with a checkpoint: what fits, what conflicts."""

import pytest
import timm
import torch

import retrieval_bench as rb
from retrieval_bench.methods.gem.module import Gem
from retrieval_bench.methods.registry import METHODS, register_method
from retrieval_bench.settings.errors import InputError


def test_an_unknown_method_gives_the_nearest():
    with pytest.raises(InputError, match=r"unknown method 'sepca'; did you mean 'spca'\?"):
        rb.create_model("sepca")


def test_a_part_that_is_no_module_is_refused():
    register_method("not_a_module_for_test")(lambda: 5)
    try:
        with pytest.raises(InputError, match="is no RetrievalModule"):
            rb.create_model("not_a_module_for_test")
    finally:
        del METHODS._parts["not_a_module_for_test"]


@pytest.fixture
def extended():
    """A method that changes one thing of GeM's, and brings neither a constructor nor a card."""

    @register_method("extended_for_test")
    class Extended(Gem):
        """GeM with its signs turned."""

        def head(self, features):
            return -super().head(features)

    yield Extended
    del METHODS._parts["extended_for_test"]


def test_a_method_that_extends_another_has_its_own_name(extended, build, save, pictures, tmp_path):
    model = build("extended_for_test")
    assert (model.method, model.normalisation_source) == ("extended_for_test", "method extended_for_test")
    file = save(model, tmp_path / "own.ckpt")
    again = rb.create_model("extended_for_test", weights=file)
    assert torch.equal(again.describe(pictures(1, 64, 48)), model.describe(pictures(1, 64, 48)))
    with pytest.raises(InputError, match="holds method 'extended_for_test', not 'gem'"):
        rb.create_model("gem", weights=file)


def test_an_option_that_a_method_adds_is_kept(build, save, pictures, tmp_path):
    @register_method("longer_for_test")
    class Longer(Gem):
        """GeM of squares, or of another power."""

        def __init__(
            self,
            *,
            backbone=None,
            pooling=None,
            loss=None,
            dim=None,
            num_classes=None,
            variant="spca",
            projection="linear",
            local_whitening="none",
            merge=None,
            power: float = 2.0,
        ):
            super().__init__(
                backbone=backbone,
                pooling=pooling,
                loss=loss,
                dim=dim,
                num_classes=num_classes,
                variant=variant,
                projection=projection,
                local_whitening=local_whitening,
                merge=merge,
            )
            self.power = power

        def head(self, features):
            return super().head(features).abs() ** self.power

    try:
        model = build("longer_for_test", power=3.0)
        again = rb.create_model("longer_for_test", weights=save(model, tmp_path / "own.ckpt"))
        assert again.power == 3.0
        assert torch.equal(again.describe(pictures(1, 64, 48)), model.describe(pictures(1, 64, 48)))
    finally:
        del METHODS._parts["longer_for_test"]


def test_its_card_claims_nothing_of_the_other(extended):
    assert extended.card.title == "extended_for_test"
    assert extended.card.implementation == "own work that extends GeM"
    assert extended.card.published == ()
    assert Gem.card.published


def test_a_card_of_its_own_is_kept():
    class Carded(Gem):
        """GeM again."""

        card = Gem.card

    try:
        assert register_method("carded_for_test")(Carded).card is Gem.card
    finally:
        del METHODS._parts["carded_for_test"]


@pytest.mark.parametrize("method", ["gem", "delg"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dim": 32}, "trained with dim=16, but dim=32 was asked for; leave dim out"),
        ({"backbone": "resnet18"}, "trained with backbone=test_resnet, but backbone=resnet18"),
        ({"backbone": {"name": "test_resnet", "output_stride": 8}}, "trained with backbone.output_stride=16, but"),
    ],
    ids=["dim", "backbone", "option"],
)
def test_what_conflicts_with_the_weights_is_named_with_both_values(method, given, said, build, save, tmp_path):
    stored = {"backbone": {"name": "test_resnet", "output_stride": 16}} if "output_stride" in said else {}
    file = save(build(method, **stored), tmp_path / "own.ckpt")
    with pytest.raises(InputError, match=said) as caught:
        rb.create_model(method, weights=file, **given)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("method", rb.list_methods())
def test_a_pooling_is_swapped_on_trained_weights(method, build, save, pictures, tmp_path):
    file = save(build(method), tmp_path / "own.ckpt")
    model, usual = (rb.create_model(method, weights=file, **given) for given in ({"pooling": "mac"}, {}))
    assert model.settings["pooling"]["name"] == "mac"
    images = pictures(1, 64, 48)
    assert not torch.allclose(model.describe(images), usual.describe(images))
    assert torch.equal(model.state_dict()["backbone.body.conv1.0.weight"], usual.backbone.body.conv1[0].weight)
    left = [name for name, why in model.unused_weights.items() if why == "pooling was replaced by mac"]
    assert left == [name for name in usual.state_dict() if ".pooling." in f".{name}"]


def test_a_pooling_that_learns_starts_from_its_initial_values(build, save, tmp_path):
    file = save(build("gem", pooling="mac"), tmp_path / "own.ckpt")
    model = rb.create_model("gem", weights=file, pooling={"name": "gem", "p": 4.0})
    assert model.absent_weights == ("pooling.p",)
    assert model.pooling.p.item() == 4.0


@pytest.mark.parametrize("method", rb.list_methods())
def test_a_classifier_of_other_classes_starts_anew(method, build, save, pictures, tmp_path):
    file = save(build(method), tmp_path / "own.ckpt")
    model, usual = (rb.create_model(method, weights=file, **given) for given in ({"num_classes": 5}, {}))
    assert model.loss.weight.shape[0] == 5
    assert model.settings["num_classes"] == 5
    assert "trained for 3 classes, the model has 5" in model.unused_weights.values()
    images = pictures(1, 64, 48)
    assert torch.equal(model.describe(images), usual.describe(images))
    model.train().losses(pictures(4, 64, 64), torch.tensor([4, 4, 3, 3]))


def test_tuples_and_lists_of_options_are_alike(build, save, tmp_path):
    small = {"name": "ultron_s", "depths": [1, 1, 1, 1], "widths": [32, 32, 32, 32]}
    file = save(build("ultron", backbone=small), tmp_path / "own.ckpt")
    rb.create_model("ultron", weights=file, backbone={**small, "depths": (1, 1, 1, 1)})
    with pytest.raises(
        InputError, match=r"trained with backbone\.depths=.1, 1, 1, 1., but backbone\.depths=.2, 1, 1, 1."
    ):
        rb.create_model("ultron", weights=file, backbone={**small, "depths": (2, 1, 1, 1)})


def test_a_pooling_may_say_how_scales_are_merged(build):
    assert build("delg", pooling="sgem").protocol.merge == "max"
    finite = build("spca", pooling={"name": "sgem", "ps": 3.0}).protocol
    assert (finite.merge, finite.merge_exponent) == ("shifted-power", 3.0)
    assert build("delg", pooling="gemp").protocol.merge == "mean"


def test_relup_is_an_option_of_any_backbone(build, save, pictures, tmp_path):
    file = save(build("delg", backbone="resnet18"), tmp_path / "own.ckpt")
    plain, raised = (
        rb.create_model("delg", weights=file, **given)
        for given in ({}, {"backbone": {"name": "resnet18", "relup": 0.1}})
    )
    images = pictures(1, 64, 64)
    assert not torch.allclose(plain.describe(images), raised.describe(images))
    assert raised.settings["backbone"]["relup"] == 0.1
    with pytest.raises(InputError, match="ReLUP needs residual blocks"):
        rb.create_model("gem", backbone={"name": "convnext_atto", "relup": 0.1})


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


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("pooling", {"pooling": {"name": "theirs"}}),
        ("loss", {"loss": {"name": "theirs"}}),
        ("backbone", {"backbone": {"name": "theirs"}}),
        ("batch attention", {"loss": {"name": "arcface", "batch_attention": {"name": "theirs"}}}),
    ],
)
def test_a_checkpoint_with_a_part_of_a_plugin_that_is_not_loaded(kind, stored, build, save, tmp_path):
    model = build("gem")
    model.settings.update(stored)
    file = save(model, tmp_path / "own.ckpt")
    with pytest.raises(InputError) as caught:
        rb.create_model("gem", weights=file)
    assert str(caught.value) == (
        f"{file} was trained with {kind} 'theirs', which is not known here: give --plugin with the file that defines it"
    )


def test_another_part_takes_the_place_of_one_that_is_not_known(build, save, tmp_path):
    model = build("gem")
    model.settings["pooling"] = {"name": "theirs"}
    file = save(model, tmp_path / "own.ckpt")
    assert rb.create_model("gem", pooling="mac", weights=file).settings["pooling"]["name"] == "mac"
    with pytest.raises(InputError, match=r"^unknown pooling 'macc'; did you mean 'mac'"):
        rb.create_model("gem", pooling="macc", weights=file)
