"""What images a backbone asks for: those of its weights, those set by hand, or any."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

import retrieval_bench as rb
from retrieval_bench.backbones import Backbone, create_backbone, register_backbone
from retrieval_bench.backbones.base import BACKBONES
from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.own_entry import OWN

HALVES = (0.5, 0.5, 0.5)
BY_HAND = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "channel_order": "bgr"}
TINY_ULTRON = {"name": "ultron_s", "depths": [1, 1, 1, 1], "widths": [16, 32, 64, 128]}


@pytest.fixture
def file(tmp_path):
    """timm's state dict of test_resnet."""
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def saved(path, method, backbone, **changed):
    """A checkpoint of ours; keys of its entry can be changed, None takes one out."""
    model = rb.create_model(method, backbone=backbone, dim=8)
    entry = {**json.loads(model.own_entry()), **changed}
    kept = {key: value for key, value in entry.items() if value is not None}
    torch.save({"state_dict": model.state_dict(), OWN: json.dumps(kept)}, path)
    return path


@pytest.mark.parametrize("name", ["test_resnet", "ultron_s"])
def test_a_random_start_takes_any(name):
    assert create_backbone(name).normalisation is None


def test_weights_from_a_file_expect_what_the_name_does(file):
    assert create_backbone("test_resnet", weights=file).normalisation.mean == HALVES


def test_the_method_s_own_can_be_kept(file):
    assert create_backbone("test_resnet", weights=file, normalisation="method").normalisation is None


@pytest.mark.parametrize("name", ["test_resnet", "ultron_s"])
def test_it_can_be_set_by_hand_with_weights_and_without(name, file):
    for weights in (None, file) if name == "test_resnet" else (None,):
        found = create_backbone(name, weights=weights, normalisation=BY_HAND).normalisation
        assert (list(found.mean), list(found.std), found.channel_order) == tuple(BY_HAND.values())
        assert found.source == "backbone.normalisation, set by hand"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("methd", r"unknown value of backbone\.normalisation 'methd'; did you mean 'method'\?.*or set mean, std"),
        ({"mean": [0, 0, 0]}, r"backbone\.normalisation lacks std, channel_order"),
        ({**BY_HAND, "sdt": 1}, r"unknown key of backbone\.normalisation 'sdt'; did you mean 'std'"),
        ({**BY_HAND, "std": [1, 1, 0]}, r"backbone\.normalisation\.std=.* must be above 0"),
        ([0.5, 0.5, 0.5], r"backbone\.normalisation must be a mapping"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_before_anything_is_built(given, said):
    with pytest.raises(InputError, match=said):
        create_backbone("no_such_backbone", normalisation=given)


@pytest.mark.parametrize("part", ["test_resnet", TINY_ULTRON], ids=["timm", "ultron"])
@pytest.mark.parametrize(("method", "order"), [("gem", "rgb"), ("dolg", "bgr")])
def test_a_checkpoint_of_ours_brings_what_it_was_trained_with(part, method, order, tmp_path):
    options = {"name": part} if isinstance(part, str) else part
    found = create_backbone(**options, weights=saved(tmp_path / "own.ckpt", method, part)).normalisation
    assert (found.channel_order, found.mean) == (order, (0.485, 0.456, 0.406))
    assert found.source == f"own.ckpt, a checkpoint of {method}"


@pytest.mark.parametrize("part", ["test_resnet", TINY_ULTRON], ids=["timm", "ultron"])
def test_an_older_checkpoint_leaves_it_to_the_method(part, tmp_path):
    options = {"name": part} if isinstance(part, str) else part
    older = saved(tmp_path / "own.ckpt", "dolg", part, normalisation=None)
    assert create_backbone(**options, weights=older).normalisation is None


def test_so_do_the_tensors_of_one_saved_alone(tmp_path):
    model = rb.create_model("dolg", backbone="test_resnet", dim=8)
    torch.save(model.state_dict(), tmp_path / "tensors.pth")
    assert create_backbone("test_resnet", weights=tmp_path / "tensors.pth").normalisation is None


class PluggedIn(Backbone):
    """A backbone of the user, which reads a weight file of its own form or of ours."""

    def __init__(self, out_stages=(-1,), weights=None):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 8, 2, stride=2)
        self.channels, self.strides = (8,) * len(out_stages), (2,) * len(out_stages)

    def forward(self, images):
        return [self.layer(images)]


def test_plug_ins_need_not_know_of_it(tmp_path):
    register_backbone("plugged_in_for_test")(PluggedIn)
    try:
        (tmp_path / "w.bin").write_bytes(b"a form of its own")
        assert create_backbone("plugged_in_for_test").normalisation is None
        assert create_backbone("plugged_in_for_test", weights=tmp_path / "w.bin").normalisation is None
        own = saved(tmp_path / "own.ckpt", "cfcd", "plugged_in_for_test")
        assert create_backbone("plugged_in_for_test", weights=own).normalisation.channel_order == "bgr"
        assert create_backbone("plugged_in_for_test", normalisation=BY_HAND).normalisation.mean == (0.1, 0.2, 0.3)
    finally:
        del BACKBONES._parts["plugged_in_for_test"]


class NoBackbone(torch.nn.Module):
    def __init__(self, out_stages=(-1,)):
        super().__init__()


class Untold(PluggedIn):
    def __init__(self, out_stages=(-1,)):
        super().__init__(out_stages)
        del self.channels


class OneMap(PluggedIn):
    def forward(self, images):
        return self.layer(images)


class Wider(PluggedIn):
    def forward(self, images):
        return [self.layer(images).repeat(1, 2, 1, 1)]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (NoBackbone, "makes a NoBackbone, which must inherit from retrieval_bench.backbones.Backbone; see"),
        (Untold, "sets no channels; its constructor must"),
        (OneMap, r"gave a Tensor, not a list of \(B, 8, H, W\)"),
        (Wider, r"gave \(1, 16, 2, 2\), not a list of \(B, 8, H, W\)"),
    ],
)
def test_a_plug_in_that_is_no_backbone_is_named(part, said):
    register_backbone("wrong_for_test")(part)
    try:
        with pytest.raises(InputError, match=rf"^backbone 'wrong_for_test' \(test_factory\.py\) {said}"):
            create_backbone("wrong_for_test").features(torch.zeros(1, 3, 4, 4))
    finally:
        del BACKBONES._parts["wrong_for_test"]
