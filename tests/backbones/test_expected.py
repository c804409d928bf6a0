"""What timm's weights expect of pixel values, by the name that was asked for."""

import pytest

from retrieval_bench.backbones.expected import of_config
from retrieval_bench.backbones.timm_adapter import TimmBackbone
from retrieval_bench.settings.errors import InputError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SMALL = {"depth": 1, "embed_dim": 32, "num_heads": 2}


@pytest.mark.parametrize(
    ("name", "options", "values", "said"),
    [
        ("resnet18", {}, IMAGENET, "resnet18.a1_in1k"),
        ("resnet18.tv_in1k", {}, IMAGENET, "resnet18.tv_in1k"),
        ("test_resnet", {}, HALVES, "test_resnet.r160_in1k"),
        ("vit_small_patch16_224", SMALL, HALVES, "vit_small_patch16_224.augreg_in21k_ft_in1k"),
        ("vit_small_patch16_224.dino", SMALL, IMAGENET, "vit_small_patch16_224.dino"),
        ("vit_base_patch16_224_dino", SMALL, IMAGENET, "vit_base_patch16_224.dino"),
        ("vit_base_patch16_clip_224.openai", SMALL, CLIP, "vit_base_patch16_clip_224.openai"),
        ("vit_base_patch16_siglip_224.v2_webli", SMALL, HALVES, "vit_base_patch16_siglip_224.v2_webli"),
        ("vit_small_patch14_dinov2", SMALL, IMAGENET, "vit_small_patch14_dinov2.lvd142m"),
    ],
)
@pytest.mark.filterwarnings("ignore:Mapping deprecated model name")
def test_the_tag_decides(name, options, values, said):
    expected = TimmBackbone(name, (-1,), **options).expected()
    assert (expected.mean, expected.std) == values
    assert (expected.channel_order, expected.source) == ("rgb", f"timm's configuration of {said}")


@pytest.mark.parametrize(
    ("name", "guessed"),
    [
        ("vit_small_patch16_224", True),
        ("vit_small_patch16_224.dino", False),
        ("vit_base_patch16_224_dino", False),
        ("vit_small_patch14_dinov2", False),
    ],
)
@pytest.mark.filterwarnings("ignore:Mapping deprecated model name")
def test_a_file_without_a_tag_is_a_guess_where_tags_differ(name, guessed):
    source = TimmBackbone(name, (-1,), **SMALL).expected(from_file=True).source
    assert ("a guess: tags of vit_small_patch16_224 differ; name that of the file" in source) == guessed


def test_what_a_configuration_leaves_out_is_imagenets_as_in_timm():
    found = of_config({"mean": [0.1, 0.2, 0.3]}, "config.json")
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), IMAGENET[1])


def test_a_configuration_that_cannot_be_names_itself():
    with pytest.raises(InputError, match=r"config\.json of x\.mean must be three numbers"):
        of_config({"mean": [0.1]}, "config.json of x")
