"""The backbone of a checkpoint of ours, taken out of it."""

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.backbones import create_backbone
from retrieval_bench.backbones.own_checkpoint import backbone_inside
from retrieval_bench.settings.errors import InputError


def saved(path, backbone, method="gem"):
    model = rb.create_model(method, backbone=backbone, dim=8, num_classes=3)
    checkpoint = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return model


@pytest.mark.parametrize("method", ["gem", "cvnet"])
def test_a_checkpoint_gives_its_backbone(method, tmp_path):
    model = saved(tmp_path / "final.ckpt", "resnet10t", method)
    backbone = create_backbone("resnet10t", out_stages=(-2, -1), weights=tmp_path / "final.ckpt")
    expected = model.backbone.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in backbone.state_dict().items())


def test_networks_of_our_own_too(tmp_path):
    part = {"name": "ultron_s", "depths": [1, 1, 1, 1], "widths": [16, 32, 64, 128]}
    model = saved(tmp_path / "final.ckpt", part)
    options = {key: value for key, value in part.items() if key != "name"}
    backbone = create_backbone("ultron_s", weights=tmp_path / "final.ckpt", **options)
    expected = model.backbone.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in backbone.state_dict().items())


def test_another_backbone_is_refused(tmp_path):
    saved(tmp_path / "final.ckpt", "test_resnet")
    with pytest.raises(InputError, match="does not fit the backbone"):
        create_backbone("resnet10t", weights=tmp_path / "final.ckpt")


def test_other_files_stay_as_they_are():
    state = {"conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}
    assert backbone_inside(state) is state
