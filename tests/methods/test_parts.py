"""Every pooling and every loss swaps into every method that takes it; a new one is tested here without an edit."""

import inspect

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.backbones import create_backbone
from retrieval_bench.batch_attention import register_batch_attention
from retrieval_bench.losses import LOSSES, MetricLoss, register_loss
from retrieval_bench.methods.parts import build_loss, build_pooling, is_known, named_parts, resolve
from retrieval_bench.methods.registry import METHODS
from retrieval_bench.pooling import POOLINGS, Pooling, register_pooling
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.registry import forget


def takers(part: str) -> list[str]:
    return [name for name in rb.list_methods() if part in inspect.signature(METHODS.get(name)).parameters]


def test_gem_and_delg_take_both():
    assert {"gem", "delg"} <= set(takers("pooling")) & set(takers("loss"))


KINDS_OF_POOLING = ("gem", "sgem", "netvlad", "dolg")
"""One of each kind that methods may treat differently: GeM, one with tensors of its own, another width, two stages."""

SWAPS = [(method, pooling) for method in takers("pooling") for pooling in KINDS_OF_POOLING]
SWAPS += [("gem", pooling) for pooling in rb.list_poolings() if pooling not in KINDS_OF_POOLING]


@pytest.mark.parametrize(("method", "pooling"), SWAPS)
def test_poolings(method, pooling, build, pictures):
    needs = POOLINGS.get(pooling).needs
    model = build(method, pooling=pooling, **({"backbone": "test_vit"} if "tokens" in needs else {}))
    assert model.settings["pooling"]["name"] == pooling
    described = model.describe(pictures(2, 50, 41))
    assert described.shape == (2, 16)
    torch.testing.assert_close(described.norm(dim=1), torch.ones(2), atol=1e-5, rtol=0)
    model.train().losses(pictures(4, 48, 48), torch.tensor([0, 1, 0, 1]))["loss"].backward()
    gradients = [p.grad for p in model.backbone.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("loss", rb.list_losses())
@pytest.mark.parametrize("method", takers("loss"))
def test_losses(method, loss, build, save, pictures, tmp_path):
    model = build(method, loss=loss)
    assert type(model.loss) is LOSSES.get(loss)
    losses = model.train().losses(pictures(6, 48, 48), torch.tensor([0, 1, 2, 0, 1, 2]))
    assert losses["loss"].isfinite()
    losses["loss"].backward()
    assert any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())
    loaded = rb.create_model(method, weights=save(model, tmp_path / "own.ckpt"))
    assert loaded.settings["loss"]["name"] == loss


@pytest.mark.parametrize("loss", rb.list_losses())
@pytest.mark.parametrize("method", takers("loss"))
def test_a_label_that_is_no_class_is_refused_with_any_loss(method, loss, build, pictures):
    with pytest.raises(InputError, match="labels must be"):
        build(method, loss=loss).losses(pictures(4, 32, 32), torch.tensor([0, 0, 3, 3]))


@pytest.mark.parametrize("method", takers("pooling"))
def test_options_reach_the_part(method, build):
    model = build(
        method, pooling={"name": "gem", "p": 5.0, "learnable": False}, loss={"name": "arcface", "margin": 0.4}
    )
    assert model.pooling.p.item() == 5.0
    assert not model.pooling.p.requires_grad
    assert model.loss.margin == 0.4


@pytest.mark.parametrize("method", takers("pooling"))
def test_options_without_a_name_belong_to_the_method_s_own_part(method, build):
    exponent = "exponent" if method == "ultron" else "p"
    assert getattr(build(method, pooling={exponent: 5.0}).pooling, exponent) == 5.0


@pytest.mark.parametrize("method", takers("pooling"))
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pooling": "gme"}, r"unknown pooling 'gme'; did you mean 'gem'\?"),
        ({"pooling": {"name": "gem", "pp": 3}}, r"option of pooling 'gem' 'pp'; did you mean 'p'\?"),
        ({"loss": "arcfce"}, r"unknown loss 'arcfce'; did you mean 'arcface'\?"),
        ({"loss": {"name": "arcface", "margn": 3}}, r"option of loss 'arcface' 'margn'; did you mean 'margin'\?"),
        ({"backbone": "resnet5O"}, r"unknown backbone 'resnet5O'; did you mean 'resnet50'\?"),
        ({"backbone": {"name": "test_resnet", "no_such": 1}}, "no_such"),
        ({"dimm": 3}, r"option of method .* 'dimm'; did you mean 'dim'\?"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_unknown_names_give_the_nearest(method, given, said, build):
    with pytest.raises(InputError, match=said) as caught:
        build(method, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", takers("loss"))
def test_an_unknown_option_of_the_loss_is_refused_without_classes_too(method, build):
    with pytest.raises(InputError, match="margn"):
        build(method, num_classes=None, loss={"name": "arcface", "margn": 3})


@pytest.mark.parametrize("method", takers("pooling"))
@pytest.mark.parametrize(
    "given",
    [
        {"dim": -1},
        {"dim": 0},
        {"dim": "many"},
        {"num_classes": 0},
        {"num_classes": -3},
        {"num_classes": "many"},
        {"pooling": {"name": "gem", "p": "high"}},
        {"loss": {"name": "arcface", "margin": "wide"}},
        {"pooling": 5},
        {"backbone": ["resnet18"]},
    ],
    ids=str,
)
def test_values_of_a_wrong_kind_are_input_errors(method, given, build, pictures):
    with pytest.raises(InputError) as caught:
        build(method, **given).losses(pictures(2, 32, 32), torch.tensor([0, 1]))
    assert "\n" not in str(caught.value)


def test_the_same_name_keeps_the_method_s_options():
    default = {"name": "gem", "p": 3.0}
    assert resolve(None, default) == default
    assert resolve({"name": "gem", "eps": 1}, default) == {"name": "gem", "p": 3.0, "eps": 1}
    assert resolve({"p": 4}, default) == {"name": "gem", "p": 4}


def test_another_name_does_not():
    assert resolve({"name": "mac"}, {"name": "gem", "p": 3.0}) == {"name": "mac"}


@pytest.mark.parametrize("pooling", ["cls", "salad"])
def test_a_pooling_that_does_not_fit_is_refused_with_those_that_do(pooling, build):
    with pytest.raises(
        InputError, match=f"pooling '{pooling}' does not fit: backbone 'resnet18' has no class"
    ) as caught:
        build("gem", backbone="resnet18", pooling=pooling)
    fitting = str(caught.value).rpartition("a pooling that fits: ")[2].split(", ")
    assert {"gem", "netvlad"} <= set(fitting) <= set(rb.list_poolings())
    assert not {"cls", "salad", "dolg"} & set(fitting)


@pytest.fixture
def own():
    """Parts that a test registers are taken back."""
    yield
    forget(__name__)


def given_by(result, out_channels=3) -> type[Pooling]:
    @register_pooling("wrong")
    class Wrong(Pooling):
        def __init__(self, in_channels):
            super().__init__()
            if out_channels is not None:
                self.out_channels = out_channels

        def forward(self, feature_map):
            return result(feature_map)

    return Wrong


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("method", takers("pooling"))
@pytest.mark.parametrize(
    ("result", "gave"),
    [
        (lambda maps: maps[:, :3].mean((2, 3), keepdim=True), r"\(2, 3, 1, 1\)"),
        (lambda maps: maps[:, :4].mean((2, 3)), r"\(2, 4\)"),
        (lambda maps: (maps,), "tuple"),
    ],
    ids=["shape", "width", "kind"],
)
def test_a_pooling_that_gives_no_vectors_is_named(method, result, gave, build, pictures):
    given_by(result)
    said = rf"^pooling 'wrong' \(test_parts\.py\) gave {gave}, not \(2, 3\); see retrieval-bench check pooling wrong$"
    with pytest.raises(InputError, match=said):
        build(method, pooling="wrong").describe(pictures(2, 64, 64))


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("width", "said"), [(None, "sets no out_channels"), (2.5, "sets out_channels to 2.5")])
def test_a_pooling_that_does_not_tell_its_width_is_named(width, said, build):
    given_by(lambda maps: maps, width)
    with pytest.raises(InputError, match=rf"^pooling 'wrong' \(test_parts\.py\) {said}; its constructor must set"):
        build("gem", pooling="wrong")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("with_module", [False, True])
@pytest.mark.parametrize("kind", ["pooling", "loss"])
def test_a_constructor_that_forgot_super_is_named(kind, with_module):
    base, register = (Pooling, register_pooling) if kind == "pooling" else (MetricLoss, register_loss)

    @register("wrong")
    class Wrong(base):
        def __init__(self):
            self.out_channels = 3
            if with_module:
                self.layer = torch.nn.Identity()

        def forward(self, *inputs):
            return inputs[0]

        batch_loss = forward

    said = rf"^{kind} 'wrong' \(test_parts\.py\) does not call super\(\)\.__init__\(\) first"
    backbone = create_backbone("test_resnet")
    with pytest.raises(InputError, match=said):
        build_pooling({"name": "wrong"}, 8, backbone) if kind == "pooling" else build_loss({"name": "wrong"}, 8, 2)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("register", "base", "part", "expected"),
    [
        (register_pooling, torch.nn.Module, {"pooling": "wrong"}, r"retrieval_bench\.pooling\.Pooling"),
        (register_pooling, object, {"pooling": "wrong"}, r"retrieval_bench\.pooling\.Pooling"),
        (register_loss, object, {"loss": "wrong"}, r"torch\.nn\.Module"),
        (
            register_batch_attention,
            torch.nn.Module,
            {"loss": {"name": "arcface", "batch_attention": "wrong"}},
            r"retrieval_bench\.batch_attention\.BatchAttention",
        ),
    ],
    ids=["pooling", "no module", "loss", "batch attention"],
)
def test_a_part_that_inherits_from_nothing_of_its_kind_is_named(register, base, part, expected, build):
    @register("wrong")
    class Wrong(base):
        pass

    said = rf"'wrong' \(test_parts\.py\) makes a Wrong, which must inherit from {expected}; see retrieval-bench check"
    with pytest.raises(InputError, match=said):
        build("gem", **part)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("result", "gave"),
    [
        (lambda rows: rows.sum(1), r"values of shape \(4,\)"),
        (lambda rows: rows.sum().view(1), r"values of shape \(1,\)"),
        (lambda rows: None, "a NoneType"),
    ],
)
def test_a_loss_that_gives_no_single_number_is_named(result, gave, build, pictures):
    @register_loss("wrong")
    class Wrong(MetricLoss):
        def batch_loss(self, descriptors, labels):
            return result(descriptors)

    said = rf"^loss 'wrong' \(test_parts\.py\) gave {gave}, not one number.*; see retrieval-bench check loss wrong$"
    with pytest.raises(InputError, match=said):
        build("gem", loss="wrong").train().losses(pictures(4, 32, 32), torch.tensor([0, 0, 1, 1]))


@pytest.mark.usefixtures("own")
def test_a_loss_without_a_gradient_is_named(build, pictures):
    @register_loss("wrong")
    class Wrong(MetricLoss):
        def batch_loss(self, descriptors, labels):
            return descriptors.detach().mean()

    model, batch = build("gem", loss="wrong").train(), (pictures(4, 32, 32), torch.tensor([0, 0, 1, 1]))
    with pytest.raises(InputError, match=r"^loss 'wrong' \(test_parts\.py\) gave a number that nothing can learn from"):
        model.losses(*batch)
    with torch.no_grad():
        assert model.losses(*batch)["loss"].ndim == 0


def test_the_parts_of_a_model_by_name(build):
    model = build("gem", loss={"name": "arcface", "batch_attention": "batchformer"})
    assert named_parts(model.settings) == {
        "backbone": "test_resnet",
        "pooling": "gem",
        "loss": "arcface",
        "batch attention": "batchformer",
    }
    assert all(is_known(kind, name) for kind, name in named_parts(model.settings).items())
    assert named_parts({}) == {}


@pytest.mark.parametrize("kind", ["backbone", "pooling", "loss", "batch attention"])
def test_what_is_not_known(kind):
    assert not is_known(kind, "no_such_part")
