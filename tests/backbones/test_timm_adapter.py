"""timm's models as feature maps by stage."""

import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from retrieval_bench.backbones import Backbone, create_backbone, list_backbones
from retrieval_bench.settings.errors import InputError


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "channels", "strides"),
    [
        ("resnet18", (256, 512), (16, 32)),
        ("convnext_atto", (160, 320), (16, 32)),
        ("vit_tiny_patch16_224", (192, 192), (16, 16)),
        ("swin_tiny_patch4_window7_224", (384, 768), (16, 32)),
    ],
)
def test_last_two_stages(name: str, channels: tuple[int, int], strides: tuple[int, int]) -> None:
    backbone = create_backbone(name, out_stages=(-2, -1)).eval()
    assert (backbone.channels, backbone.strides) == (channels, strides)
    for height, width in ((96, 130), (65, 64)):
        maps = backbone(torch.zeros(2, 3, height, width))
        for stage, depth, stride in zip(maps, channels, strides, strict=True):
            assert stage.shape[:2] == (2, depth)
            assert height // stride <= stage.shape[2] <= height // stride + 1
            assert width // stride <= stage.shape[3] <= width // stride + 1


@torch.no_grad()
def test_keys_and_maps_are_timms_own() -> None:
    backbone = create_backbone("resnet18", out_stages=(-1,)).eval()
    whole = timm.create_model("resnet18").eval()
    keys = {f"body.{key}" for key in whole.state_dict() if not key.startswith("fc.")}
    assert set(backbone.state_dict()) == keys
    backbone.load_state_dict({f"body.{key}": value for key, value in whole.state_dict().items()}, strict=False)
    images = torch.randn(1, 3, 97, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(backbone(images)[0], whole.forward_features(images))


@torch.no_grad()
def test_images_of_one_pixel() -> None:
    assert create_backbone("resnet18").eval()(torch.zeros(1, 3, 1, 1))[0].shape == (1, 512, 1, 1)


def test_stages_that_are_not_asked_for_are_not_built() -> None:
    backbone = create_backbone("resnet18", out_stages=(-2,))
    assert isinstance(backbone, Backbone)
    assert backbone.channels == (256,)
    assert not any("layer4" in key for key in backbone.state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet5"}, "did you mean 'resnet50'"),
        ({"name": "hf-hub:someone/model"}, "unknown backbone"),
        ({"name": "resnet18.a1_in2k"}, "did you mean 'a1_in1k'"),
        ({"name": "resnet18", "out_stages": (-9,)}, "no stages"),
        ({"name": "resnet18", "out_stages": (-1, -2)}, "rising"),
        ({"name": "resnet18", "out_stages": (3,)}, "count from the end"),
        ({"name": "resnet18", "no_such": 1}, "no_such"),
        ({"name": "resnet18", "pretrained": True, "weights": "file"}, "exclude"),
    ],
)
def test_wrong_input_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_backbone(**arguments)


def test_unreachable_hub_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **options: object) -> None:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(InputError, match=r"backbone\.weights=FILE"):
        create_backbone("resnet18", pretrained=True)


def test_fixed_size_is_named() -> None:
    backbone = create_backbone("mixer_s32_224").eval()
    with pytest.raises(InputError, match=r"\(224, 224\) only.*got \(64, 96\)"):
        backbone(torch.zeros(1, 3, 64, 96))


def test_list() -> None:
    assert "resnet101" in list_backbones()
    assert set(list_backbones("resnet18*")) <= set(list_backbones("resnet*"))
    assert list_backbones("no such *") == []
