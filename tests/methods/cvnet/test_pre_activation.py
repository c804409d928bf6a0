"""Maps before the last ReLU of their stage: taken from any backbone, without leaving anything behind."""

import copy
import gc
import weakref

import pytest
import torch

from retrieval_bench.backbones import create_backbone
from retrieval_bench.methods.cvnet.pre_activation import before_last_relu

WITH_RELU = ["test_resnet", "resnet10t", "seresnet18", "regnetx_002", "res2net50_26w_4s"]
WITHOUT = ["resnetv2_50", "test_vit", "test_convnext", "mobilenetv3_small_050"]


def images(size=64):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def taken_from(backbone, given):
    with before_last_relu(backbone) as taken:
        maps = backbone(given)
    return taken(maps), maps


@pytest.mark.parametrize("name", WITH_RELU)
@torch.no_grad()
def test_the_relu_of_the_map_is_the_map(name):
    backbone = create_backbone(name, out_stages=(-2, -1)).eval()
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # timm starts the last one of a block at 0, which leaves nothing negative.
            torch.nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(0))
    expected = backbone(images())
    feature_map, maps = taken_from(backbone, images())
    assert (feature_map < 0).any()
    assert torch.equal(feature_map.relu(), maps[0])
    for one, other in zip(maps, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", WITHOUT)
@torch.no_grad()
def test_other_architectures_give_the_map_itself(name):
    size = 160 if name == "test_vit" else 64
    feature_map, maps = taken_from(create_backbone(name, out_stages=(-2, -1)).eval(), images(size))
    assert feature_map is maps[0]


def hooks(backbone):
    return sum(len(module._forward_pre_hooks) for module in backbone.modules())


def test_nothing_stays_attached():
    backbone = create_backbone("test_resnet", out_stages=(-2, -1))
    before = hooks(backbone)
    feature_map, _ = taken_from(backbone, images())
    assert hooks(backbone) == before
    with pytest.raises(ValueError), before_last_relu(backbone):
        backbone(torch.zeros(1))
    assert hooks(backbone) == before
    gone = weakref.ref(feature_map)
    del feature_map
    gc.collect()
    assert gone() is None
    assert taken_from(copy.deepcopy(backbone), images())[0].shape[1] == backbone.channels[0]


def test_the_latest_of_several_passes_is_taken():
    backbone = create_backbone("test_resnet", out_stages=(-2, -1)).eval()
    with torch.no_grad(), before_last_relu(backbone) as taken:
        backbone(images())
        maps = backbone(images().flip(0))
        assert torch.equal(taken(maps).relu(), maps[0])


def test_gradients_pass():
    backbone = create_backbone("test_resnet", out_stages=(-2, -1))
    feature_map, _ = taken_from(backbone, images())
    feature_map.sum().backward()
    assert backbone.body.conv1[0].weight.grad.abs().sum() > 0
