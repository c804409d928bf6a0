"""ReLUP: where it sits, what it computes, and that training does not meet it."""

from pathlib import Path

import pytest
import torch
from parity_case import load
from torch import nn

from retrieval_bench.backbones import create_backbone
from retrieval_bench.backbones.relup import ReLUP, apply_relup, plain_relu
from retrieval_bench.settings.errors import InputError

CASE = load(Path(__file__).parents[1] / "parity" / "superglobal" / "modules")
IMAGES = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))


def places(backbone: nn.Module) -> list[str]:
    return [name.removeprefix("body.") for name, module in backbone.named_modules() if isinstance(module, ReLUP)]


def test_published_values():
    raised = ReLUP().eval()(torch.from_numpy(CASE.inputs["superglobal/signed"]))
    torch.testing.assert_close(raised, torch.from_numpy(CASE.outputs["relup"]), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "blocks"), [("resnet50", (3, 4, 6)), ("resnet101", (3, 4, 23))])
def test_published_places(name, blocks):
    with torch.device("meta"):
        backbone = create_backbone(name)
    apply_relup(backbone)
    inner = [f"layer1.{block}.act{number}" for block in range(3) for number in (1, 2)]
    outputs = [f"layer{stage}.{block}.act3" for stage, count in enumerate(blocks, 1) for block in range(count)]
    assert sorted(places(backbone)) == sorted(inner + outputs)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("published", ["layer1.0.act1", "layer1.0.act2", "layer2.0.act2", "layer3.0.act2"]),
        ("outputs", ["layer1.0.act2", "layer2.0.act2", "layer3.0.act2"]),
        ("inner", ["layer1.0.act1"]),
    ],
)
def test_places_in_basic_blocks(kind, expected):
    backbone = create_backbone("resnet10t")
    apply_relup(backbone, places=kind)
    assert places(backbone) == expected


@pytest.mark.parametrize("kind", ["regnetx_002", "regnety_002"])
def test_places_in_a_regnet(kind):
    backbone = create_backbone(kind)
    apply_relup(backbone)
    found = places(backbone)
    assert "s1.b1.act3" in found
    assert "s1.b1.conv2.bn.act" in found
    assert not [name for name in found if ".se." in name or name.startswith(("stem", "s4"))]


def test_outputs_have_the_new_floor():
    backbone = create_backbone("resnet10t", out_stages=(-2, -1)).eval()
    plain = backbone(IMAGES)
    assert plain[0].min() == 0
    apply_relup(backbone, alpha=0.05)
    raised = backbone(IMAGES)
    assert raised[0].min() == 0.05
    assert raised[1].min() == 0
    assert not torch.allclose(raised[1], plain[1])


def test_parameters_and_state_dict_stay():
    backbone = create_backbone("resnet10t")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    apply_relup(backbone)
    after = backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_training_does_not_meet_it():
    backbone, changed = create_backbone("resnet10t"), create_backbone("resnet10t")
    changed.load_state_dict(backbone.state_dict())
    apply_relup(changed)
    with torch.no_grad():
        assert torch.equal(backbone.train()(IMAGES)[-1], changed.train()(IMAGES)[-1])


@torch.no_grad()
def test_it_can_be_left_out_for_a_while():
    backbone = create_backbone("resnet10t").eval()
    plain = backbone(IMAGES)[-1]
    apply_relup(backbone)
    raised = backbone(IMAGES)[-1]
    with plain_relu(backbone), plain_relu(backbone):
        assert torch.equal(backbone(IMAGES)[-1], plain)
    assert torch.equal(backbone(IMAGES)[-1], raised)
    with pytest.raises(ValueError, match="broken"), plain_relu(backbone):
        raise ValueError("broken")
    assert torch.equal(backbone(IMAGES)[-1], raised)


@torch.no_grad()
def test_a_second_floor_replaces_the_first():
    backbone = create_backbone("resnet10t", out_stages=(-2,)).eval()
    apply_relup(backbone, alpha=0.3)
    apply_relup(backbone, alpha=0.1)
    assert backbone(IMAGES)[0].min() == 0.1


def test_gradients_pass_above_the_floor_only():
    values = torch.tensor([-1.0, 0.005, 0.5], requires_grad=True)
    ReLUP(inplace=True).eval()(values * 1).sum().backward()
    assert values.grad.tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    raised = ReLUP().eval()(torch.tensor([-1.0, 0.0, 0.5], dtype=dtype))
    assert raised.dtype == dtype
    torch.testing.assert_close(raised.float(), torch.tensor([0.014, 0.014, 0.5]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["convnext_atto", "vgg11_bn", "densenet121", "resnetv2_50", "test_vit"])
def test_backbones_without_such_blocks(name):
    with torch.device("meta"):
        backbone = create_backbone(name)
    with pytest.raises(InputError, match=r"ReLUP needs residual blocks that end in a ReLU.*use a ResNet"):
        apply_relup(backbone)


def test_another_activation_leaves_the_backbone_as_it_was():
    backbone = create_backbone("resnet10t")
    backbone.body.layer3[0].act2 = nn.SiLU()
    with pytest.raises(InputError, match="that end in a ReLU"):
        apply_relup(backbone)
    assert places(backbone) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [({"alpha": -0.1}, "from 0 up, got -0.1"), ({"alpha": float("nan")}, "nan"), ({"places": "output"}, "'outputs'")],
)
def test_impossible_options(options, said):
    with pytest.raises(InputError, match=said):
        apply_relup(create_backbone("test_resnet"), **options)
