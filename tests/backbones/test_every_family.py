"""One small model of every family of timm gives maps for images of any size, or says in one line that it does not."""

import gc

import pytest
import timm
import torch

from retrieval_bench.backbones import create_backbone
from retrieval_bench.settings.errors import InputError

SMALL = {
    "beit": "beit_base_patch16_224",
    "byoanet": "eca_botnext26ts_256",
    "byobnet": "test_byobnet",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "test_convnext",
    "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240",
    "csatv2": "csatv2",
    "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deepseek_vit": "deepseek_vit_412m",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla34",
    "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "test_efficientnet",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "vit_tiny_patch16_dinov3_qkvb",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "gemma4_vit": "gemma4_vit_167m",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_128",
    "lowformer": "lowformer_b0",
    "mambaout": "test_mambaout",
    "maxxvit": "test_coatnet",
    "metaformer": "poolformer_s12",
    "mlp_mixer": "gmixer_12_224",
    "mobilenetv3": "mobilenetv3_small_050",
    "mobilenetv5": "mobilenetv5_base",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_gap",
    "nasnet": "nasnetalarge",
    "nest": "nest_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "test_nfnet",
    "pit": "pit_ti_224",
    "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0",
    "qwen3_vit": "qwen3_vit_88m",
    "rdnet": "rdnet_tiny",
    "regnet": "regnety_040_sgn",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m1",
    "res2net": "res2net50_14w_8s",
    "resnest": "resnest14d",
    "resnet": "test_resnet",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_legacy_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "vgg": "vgg11",
    "visformer": "visformer_tiny",
    "vision_transformer": "test_vit",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "test_vit_relpos",
    "vision_transformer_sam": "samvit_base_patch16_224",
    "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception",
    "xception_aligned": "xception41p",
    "xcit": "xcit_nano_12_p8_224",
}
"""A small one of each; of families that came later the first."""

CUT_DOWN = {
    "deepseek_vit_412m": {"depth": 2},
    "gemma4_vit_167m": {"depth": 2},
}
MORE = ("maxvit_pico_rw_256", "maxxvit_rmlp_nano_rw_256", "halonet26t", "lambda_resnet26t", "beit_base_patch16_224")
"""Others that differ from the small one of their family."""

SIZES = ((1, 1), (8, 500), (33, 47), (97, 130), (130, 97))

ONE_SIZE = {
    "beit",
    "byoanet",
    "cait",
    "coat",
    "convit",
    "crossvit",
    "efficientformer",
    "efficientformer_v2",
    "gcvit",
    "hiera",
    "levit",
    "maxxvit",
    "mlp_mixer",
    "mvitv2",
    "nest",
    "pit",
    "tnt",
    "vision_transformer_relpos",
    "visformer",
    "volo",
}
"""Families with models that refuse other sizes than theirs, or larger ones; every other takes all."""


def small(family: str) -> str:
    return SMALL.get(family) or sorted(timm.list_models(module=family), key=len)[0]


@pytest.mark.slow
@pytest.mark.parametrize("family", timm.list_modules())
def test_a_small_model_of_every_family(family: str) -> None:
    name = small(family)
    refusal = refused(name)
    gc.collect()
    if refusal is None:
        return
    assert family in ONE_SIZE, refusal
    assert "\n" not in refusal
    assert "takes images " in refusal
    maps_of(name, [trained_size(name)])


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_models_that_differ_from_their_family(name: str) -> None:
    refusal = refused(name)
    if refusal is not None:
        assert "takes images " in refusal
        maps_of(name, [trained_size(name)])


def test_every_name_is_known() -> None:
    unknown = [name for name in (*SMALL.values(), *MORE) if not timm.is_model(name)]
    assert unknown == []


def trained_size(name: str) -> tuple[int, int]:
    return create_backbone(name, **CUT_DOWN.get(name, {})).architecture.trained_size  # type: ignore[attr-defined]


def refused(name: str) -> str | None:
    """What is said about images of `SIZES`; None where all of them give maps."""
    try:
        maps_of(name, list(SIZES))
    except InputError as error:
        return str(error)
    return None


@torch.no_grad()
def maps_of(name: str, sizes: list[tuple[int, int]]) -> None:
    backbone = create_backbone(name, out_stages=(-2, -1), **CUT_DOWN.get(name, {})).eval()
    for height, width in sizes:
        images = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        for stage, channels, stride in zip(backbone(images), backbone.channels, backbone.strides, strict=True):
            assert stage.shape[:2] == (1, channels), (height, width)
            # Convolutions without padding lose up to three positions a side.
            for got, side in zip(stage.shape[2:], (height, width), strict=True):
                assert max(1, side // stride - 3) <= got <= -(-side // stride), (height, width, tuple(stage.shape))
            assert stage.isfinite().all(), (height, width)
