"""Every pooling and every loss swaps into every method that takes it; a new one is tested here without an edit."""

import inspect

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.losses import LOSSES
from retrieval_bench.methods.parts import resolve
from retrieval_bench.methods.registry import METHODS
from retrieval_bench.pooling import POOLINGS
from retrieval_bench.settings.errors import InputError


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
