"""What timm architectures are, found out without building them."""

from inspect import signature

import pytest
import torch

from retrieval_bench.backbones import create_backbone
from retrieval_bench.backbones.base import OPTIONS_OF_ALL
from retrieval_bench.backbones.inspection import inspect_architecture, on_meta
from retrieval_bench.backbones.sizes import ANY, SizeRule
from retrieval_bench.settings.errors import InputError


@pytest.mark.parametrize(
    ("name", "channels", "strides", "rule"),
    [
        ("resnet18", (64, 64, 128, 256, 512), (2, 4, 8, 16, 32), ANY),
        ("convnext_atto", (40, 80, 160, 320), (4, 8, 16, 32), SizeRule(1, 32)),
        ("test_vit", (64,) * 6, (16,) * 6, ANY),
        ("vit_tiny_r_s16_p8_224", (192,) * 12, (32,) * 12, SizeRule(32)),
        ("swin_tiny_patch4_window7_224", (96, 192, 384, 768), (4, 8, 16, 32), SizeRule(4)),
    ],
)
def test_stages_and_sizes(name, channels, strides, rule):
    found = inspect_architecture(name, {})
    assert (found.channels, found.strides, found.rule) == (channels, strides, rule)


@pytest.mark.parametrize(
    ("name", "norm", "tokens", "class_token"),
    [
        ("resnet18", False, 0, False),
        ("test_vit", True, 1, True),
        ("vit_tiny_patch16_dinov3_qkvb", True, 5, True),
        ("deit_tiny_distilled_patch16_224", True, 2, True),
        ("vit_base_patch16_siglip_224", True, 0, False),
        ("vit_medium_patch16_reg4_gap_256", False, 4, False),
        ("samvit_base_patch16_224", True, 0, False),
        ("samvit_base_patch16", False, 0, False),
    ],
)
def test_norm_and_tokens(name, norm, tokens, class_token):
    options = {} if name in ("resnet18", "test_vit") else {"depth": 1}
    found = inspect_architecture(name, options)
    assert (found.final_norm, found.prefix_tokens, found.class_token) == (norm, tokens, class_token)


def test_a_norm_that_changes_the_channels_is_applied_where_asked_for():
    found = inspect_architecture("samvit_base_patch16", {"depth": 1}, final_norm=True)
    assert found.final_norm
    arguments = {**found.creation, **found.extraction, "features_only": True, "out_indices": (-1,)}
    body = on_meta("samvit_base_patch16", **arguments)
    assert body.feature_info.channels() == [256]


def test_a_norm_after_the_models_own_pooling_is_none_for_maps():
    with pytest.raises(InputError, match=r"has no final norm.*leave backbone\.final_norm out"):
        inspect_architecture("vit_medium_patch16_reg4_gap_256", {"depth": 1}, final_norm=True)


def test_architectures_of_one_size():
    found = inspect_architecture("mixer_s32_224", {})
    assert (found.rule, found.trained_size, found.limited) == (None, (224, 224), False)


def test_options_count():
    assert inspect_architecture("mixer_s32_224", {"img_size": (64, 96)}).trained_size == (64, 96)
    assert inspect_architecture("test_vit", {"depth": 3}).strides == (16,) * 3


def test_wrong_options_are_named():
    with pytest.raises(InputError, match=r"^unknown option of backbone 'test_vit' 'no_such' \(known: "):
        inspect_architecture("test_vit", {"no_such": 1})
    with pytest.raises(InputError, match="cannot give feature maps with these options"):
        inspect_architecture("test_vit", {"embed_dim": 7, "num_heads": 3})


def test_nothing_is_computed():
    before = torch.get_rng_state()
    model = on_meta("test_resnet")
    assert all(parameter.is_meta for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "option", "near"),
    [
        ("resnet10t", "pretraned", "pretrained"),
        ("resnet10t", "drop_path", "drop_path_rate"),
        ("test_vit", "class_tokens", "class_token"),
    ],
)
def test_an_unknown_option_gives_the_nearest_of_the_model_and_of_ours(name, option, near):
    with pytest.raises(InputError, match=rf"^unknown option of backbone '{name}' '{option}'; did you mean '{near}'\?"):
        inspect_architecture(name, {option: 1})


def test_the_options_that_all_backbones_have_are_those_of_create_backbone():
    own = set(signature(create_backbone).parameters) - {"name", "out_stages", "tokens", "options"}
    assert set(OPTIONS_OF_ALL) == own
