"""timm's models as feature maps by stage."""

from typing import Any

import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import nn

from retrieval_bench.backbones import Backbone, create_backbone, list_backbones
from retrieval_bench.backbones.timm_adapter import TimmBackbone
from retrieval_bench.settings.errors import InputError

PLAIN = {
    "test_vit": {},
    "vit_tiny_patch16_224": {"depth": 2},
    "deit_tiny_distilled_patch16_224": {"depth": 2},
    "vit_small_patch14_dinov2": {"depth": 2, "embed_dim": 64, "num_heads": 2},
    "vit_small_patch14_reg4_dinov2": {"depth": 2, "embed_dim": 64, "num_heads": 2},
    "vit_small_patch16_dinov3": {"depth": 2, "embed_dim": 64, "num_heads": 2},
    "vit_base_patch16_clip_224": {"depth": 2, "embed_dim": 64, "num_heads": 2},
    "eva02_tiny_patch14_224": {"depth": 2, "embed_dim": 96, "num_heads": 3},
}
"""Plain transformers with a class token, cut down."""

WITHOUT_TOKENS = {
    "vit_base_patch16_siglip_224": {"depth": 2, "embed_dim": 64, "num_heads": 2},
}
HIERARCHICAL = {
    "resnet18": (64, 64, 128, 256, 512),
    "test_resnet": (32, 32, 48, 192, 96),
    "convnext_atto": (40, 80, 160, 320),
    "efficientnet_b0": (16, 24, 40, 112, 320),
    "regnetx_002": (32, 24, 56, 152, 368),
    "mobilenetv3_small_050": (16, 8, 16, 24, 288),
    "swin_tiny_patch4_window7_224": (96, 192, 384, 768),
    "swinv2_tiny_window8_256": (96, 192, 384, 768),
}
SHALLOW: dict[str, dict[str, Any]] = {
    "swin_tiny_patch4_window7_224": {"depths": (1, 1, 1, 1)},
    "swinv2_tiny_window8_256": {"depths": (1, 1, 1, 1)},
}
SIZES = ((8, 500), (1, 1), (33, 47), (160, 96))


def values(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def options(name: str) -> dict[str, Any]:
    return {**PLAIN, **WITHOUT_TOKENS, **SHALLOW}.get(name, {})


def cut_down(name: str, **more: Any) -> TimmBackbone:
    torch.manual_seed(0)
    backbone = create_backbone(name, **options(name), **more).eval()
    assert isinstance(backbone, TimmBackbone)
    return backbone


def whole_model(name: str, backbone: TimmBackbone) -> nn.Module:
    """timm's own model with the same weights, at the size that it was made for."""
    whole = timm.create_model(name, **options(name)).eval()
    state = {key.removeprefix("model."): value for key, value in backbone.body.state_dict().items()}
    left_out = whole.load_state_dict(state, strict=False)
    assert not left_out.unexpected_keys
    return whole


@torch.no_grad()
@pytest.mark.parametrize("name", HIERARCHICAL)
def test_stages_of_any_size(name: str) -> None:
    backbone = cut_down(name, out_stages=(-2, -1))
    assert backbone.channels == HIERARCHICAL[name][-2:]
    assert backbone.strides == (16, 32)
    for height, width in SIZES:
        maps = backbone(values(2, 3, height, width))
        for stage, depth, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
            assert stage.shape[:2] == (2, depth)
            assert max(1, height // stride) <= stage.shape[2] <= -(-height // stride)
            assert max(1, width // stride) <= stage.shape[3] <= -(-width // stride)
            assert stage.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", [*PLAIN, "vit_base_patch16_siglip_224"])
def test_token_grids_of_any_size(name: str) -> None:
    backbone = cut_down(name, out_stages=(-2, -1))
    patch = 14 if "patch14" in name else 16
    assert backbone.strides == (patch, patch)
    assert len(set(backbone.channels)) == 1
    for height, width in SIZES:
        for stage in backbone(values(2, 3, height, width)):
            assert stage.shape == (2, backbone.channels[0], -(-height // patch), -(-width // patch))
            assert stage.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", [*PLAIN, "vit_base_patch16_siglip_224"])
def test_at_the_trained_size_they_are_timms_own(name: str) -> None:
    tokens = name in PLAIN
    backbone = cut_down(name, tokens=tokens)
    whole = whole_model(name, backbone)
    height, width = backbone.architecture.trained_size
    images = values(1, 3, height, width)
    features, expected = backbone.features(images), whole.forward_features(images)
    count = backbone.architecture.prefix_tokens
    if tokens:
        assert features.tokens is not None
        torch.testing.assert_close(features.tokens, expected[:, :count], rtol=1e-4, atol=1e-5)
    grid = features.maps[-1].flatten(2).transpose(1, 2)
    torch.testing.assert_close(grid, expected[:, count:], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_position_embeddings_are_interpolated() -> None:
    backbone = cut_down("vit_tiny_patch16_224")
    embedding = backbone.body.model.pos_embed
    ramp = torch.linspace(0, 1, 14)
    embedding.zero_()
    embedding[0, 1:, 0] = ramp.repeat(14)
    embedding[0, 1:, 1] = ramp.repeat_interleave(14)
    taken: list[torch.Tensor] = []
    backbone.body.model.norm_pre.register_forward_hook(lambda *call: taken.append(call[2]))
    backbone.body.model.patch_embed.proj.weight.zero_()
    backbone.body.model.patch_embed.proj.bias.zero_()
    backbone(values(1, 3, 100, 330))
    across, down = taken[0][0, 1:, :2].reshape(7, 21, 2).unbind(-1)
    assert (across.diff(dim=1) > -1e-3).all()
    assert (down.diff(dim=0) > -1e-3).all()
    torch.testing.assert_close(across, across[:1].expand_as(across), atol=1e-5, rtol=0)
    torch.testing.assert_close(across[0, 10], torch.tensor(0.5), atol=0.01, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", PLAIN)
def test_tokens_come_from_the_same_pass(name: str) -> None:
    backbone, without = cut_down(name, out_stages=(-2, -1), tokens=True), cut_down(name, out_stages=(-2, -1))
    registers = {
        "vit_small_patch14_reg4_dinov2": 4,
        "vit_small_patch16_dinov3": 4,
        "deit_tiny_distilled_patch16_224": 1,
    }
    assert backbone.token_channels == backbone.channels[-1]
    assert without.token_channels is None
    passes: list[int] = []
    backbone.body.model.patch_embed.register_forward_hook(lambda *_: passes.append(1))
    images = values(2, 3, 33, 47)
    features, plain = backbone.features(images), without.features(images)
    assert len(passes) == 1
    assert plain.tokens is None
    assert features.tokens is not None
    assert features.tokens.shape == (2, 1 + registers.get(name, 0), backbone.channels[-1])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(features.maps, plain.maps, strict=True))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(features.maps, backbone(images), strict=True))


@torch.no_grad()
def test_the_class_token_is_the_first() -> None:
    backbone = cut_down("vit_small_patch14_reg4_dinov2", tokens=True)
    images = values(1, 3, 28, 28)
    class_token = backbone.body.model.cls_token.clone()
    backbone.body.model.cls_token += values(*class_token.shape)
    for block in backbone.body.model.blocks:
        nn.init.zeros_(block.attn.proj.weight)
    moved = backbone.features(images).tokens
    backbone.body.model.cls_token.copy_(class_token)
    still = backbone.features(images).tokens
    assert moved is not None
    assert still is not None
    changed = (moved - still).abs().amax((0, 2)) > 1e-3
    assert changed.tolist() == [True, False, False, False, False]


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "vit_base_patch16_clip_224"])
def test_the_final_norm_is_an_option(name: str) -> None:
    normed, raw = cut_down(name, tokens=True), cut_down(name, tokens=True, final_norm=False)
    assert normed.architecture.final_norm
    assert not raw.architecture.final_norm
    own = normed.body.state_dict()
    raw.body.load_state_dict({key: own[key] for key in raw.body.state_dict()})
    images = values(1, 3, 64, 48)
    with_norm, without = normed.features(images), raw.features(images)
    norm = normed.body.model.norm
    expected = norm(without.maps[-1].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(with_norm.maps[-1], expected)
    torch.testing.assert_close(with_norm.tokens, norm(without.tokens))
    assert not torch.allclose(with_norm.maps[-1], without.maps[-1])


@torch.no_grad()
def test_a_hierarchical_transformer_is_normalised_where_asked() -> None:
    name = "swin_tiny_patch4_window7_224"
    backbone = cut_down(name, final_norm=True)
    images = values(1, 3, 224, 224)
    expected = whole_model(name, backbone).forward_features(images).permute(0, 3, 1, 2)
    torch.testing.assert_close(backbone(images)[-1], expected, rtol=1e-4, atol=1e-5)
    assert not cut_down(name).architecture.final_norm
    assert backbone(values(1, 3, 33, 47))[-1].shape == (1, 768, 2, 2)


@torch.no_grad()
def test_keys_and_maps_are_timms_own() -> None:
    backbone = create_backbone("resnet18", out_stages=(-1,)).eval()
    whole = timm.create_model("resnet18").eval()
    keys = {f"body.{key}" for key in whole.state_dict() if not key.startswith("fc.")}
    assert set(backbone.state_dict()) == keys
    backbone.load_state_dict({f"body.{key}": value for key, value in whole.state_dict().items()}, strict=False)
    images = torch.randn(1, 3, 97, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(backbone(images)[0], whole.forward_features(images))


def test_inspection_leaves_the_random_state_alone() -> None:
    torch.manual_seed(4)
    backbone = create_backbone("test_resnet", out_stages=(-1,))
    torch.manual_seed(4)
    expected = timm.create_model("test_resnet", features_only=True, out_indices=(-1,))
    assert all(torch.equal(value, expected.state_dict()[key]) for key, value in backbone.body.state_dict().items())


@torch.no_grad()
def test_images_of_one_pixel() -> None:
    assert create_backbone("resnet18").eval()(torch.zeros(1, 3, 1, 1))[0].shape == (1, 512, 1, 1)


def test_stages_that_are_not_asked_for_are_not_built() -> None:
    backbone = create_backbone("resnet18", out_stages=(-2,))
    assert isinstance(backbone, Backbone)
    assert backbone.channels == (256,)
    assert not any("layer4" in key for key in backbone.state_dict())


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "vit_small_patch16_dinov3"])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    backbone = cut_down(name, tokens=name != "test_resnet").to(dtype)
    features = backbone.features(values(1, 3, 33, 47).to(dtype))
    assert features.maps[-1].dtype == dtype
    assert features.tokens is None or features.tokens.dtype == dtype
    assert features.maps[-1].isfinite().all()


@torch.no_grad()
def test_memory_layout_is_kept() -> None:
    backbone = create_backbone("resnet18").eval().to(memory_format=torch.channels_last)
    stage = backbone(values(2, 3, 64, 96).to(memory_format=torch.channels_last))[0]
    assert stage.is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_convnext", "test_vit"])
def test_export(name: str) -> None:
    backbone = cut_down(name)
    images = values(1, 3, 33, 47)
    exported = torch.export.export(backbone, (images,)).module()
    torch.testing.assert_close(exported(images)[0], backbone(images)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet5"}, "did you mean 'resnet50'"),
        ({"name": "hub:someone/model"}, r"unknown backbone.*hf_hub:owner/model"),
        ({"name": "resnet18.a1_in2k"}, "did you mean 'a1_in1k'"),
        ({"name": "resnet18", "out_stages": (-9,)}, "has 5 stages, so there is no stage -9"),
        ({"name": "resnet18", "out_stages": (-1, -2)}, "rising"),
        ({"name": "resnet18", "out_stages": (3,)}, "count from the end"),
        ({"name": "resnet18", "no_such": 1}, "no_such"),
        ({"name": "resnet18", "pretrained": True, "weights": "file"}, "exclude"),
        ({"name": "resnet18", "final_norm": True}, "'resnet18' has no final norm"),
        ({"name": "resnet18", "tokens": True}, r"no class or register tokens.*vit_tiny_patch16_224.*dinov3"),
        ({"name": "swin_tiny_patch4_window7_224", "tokens": True}, "no class or register tokens"),
        ({"name": "vit_base_patch16_siglip_224", "tokens": True}, "no class or register tokens"),
        ({"name": "vit_medium_patch16_reg4_gap_256", "tokens": True}, "register tokens, but no class token"),
    ],
)
def test_wrong_input_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_backbone(**arguments)


def test_an_earlier_stage_of_a_backbone_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval_bench.backbones import BACKBONES

    class OneStage(Backbone):
        def __init__(self, out_stages: tuple[int, ...] = (-1,)):
            super().__init__()
            self.channels, self.strides = (3,), (1,)

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [images]

    BACKBONES.names()
    monkeypatch.setitem(BACKBONES._parts, "one_stage", OneStage)
    assert create_backbone("one_stage").channels == (3,)
    with pytest.raises(
        InputError, match=r"'one_stage' has one stage, so an earlier stage was asked for in vain; choose"
    ):
        create_backbone("one_stage", out_stages=(-2, -1))


def test_any_error_of_fetching_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    build = timm.create_model

    def unreachable(*arguments: Any, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise LocalEntryNotFoundError("no connection")
        return build(*arguments, **options)

    monkeypatch.setattr(timm, "create_model", unreachable)
    monkeypatch.setattr("retrieval_bench.backbones.hub._connect", lambda: None)
    with pytest.raises(InputError, match=r"no connection\); give backbone\.weights=FILE"):
        create_backbone("resnet18", pretrained=True)


def test_fixed_size_is_named() -> None:
    backbone = cut_down("mixer_s32_224")
    with pytest.raises(InputError, match=r"'mixer_s32_224' takes images of 224 x 224 only, got 64 x 96; give images"):
        backbone(torch.zeros(1, 3, 64, 96))
    assert backbone(torch.zeros(1, 3, 224, 224))[0].shape == (1, 512, 7, 7)


def test_a_fixed_size_can_be_chosen() -> None:
    backbone = create_backbone("mixer_s32_224", img_size=(64, 96)).eval()
    assert backbone(torch.zeros(1, 3, 64, 96))[0].shape == (1, 512, 2, 3)


@torch.no_grad()
def test_a_largest_size_is_named() -> None:
    backbone = create_backbone("mvitv2_tiny").eval()
    assert backbone(torch.zeros(1, 3, 33, 224))[0].shape == (1, 768, 2, 7)
    with pytest.raises(InputError, match=r"takes images up to 224 x 224, got 33 x 225; shrink them"):
        backbone(torch.zeros(1, 3, 33, 225))


def test_list() -> None:
    assert "resnet101" in list_backbones()
    assert set(list_backbones("resnet18*")) <= set(list_backbones("resnet*"))
    assert list_backbones("no such *") == []


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", ["test_convnext", "vit_small_patch14_reg4_dinov2"])
def test_compilation_without_breaks(name: str) -> None:
    backbone = cut_down(name, tokens=name != "test_convnext")
    torch.compiler.reset()
    compiled = torch.compile(backbone.features, fullgraph=True, backend="eager")
    for images in (values(1, 3, 33, 47), values(1, 3, 8, 100)):
        found, expected = compiled(images), backbone.features(images)
        torch.testing.assert_close(found.maps, expected.maps)
        torch.testing.assert_close(found.tokens, expected.tokens)
