"""What a published DOLG file says of itself, from its keys and shapes."""

import pytest
import torch

from retrieval_bench.methods.dolg.checkpoint import recognises, translate


def published(**changed):
    """A ResNet-18's keys with tensors of one value, and heads of 4 channels, 6-D, for 5 classes."""
    blocks = {f"globalmodel.s{stage}.b{block}.f.a.weight" for stage in range(1, 5) for block in (1, 2)}
    state = {key: torch.zeros(1) for key in ("globalmodel.stem.conv.weight", *blocks)}
    state |= {"fc_t.weight": torch.zeros(4, 8), "fc.weight": torch.zeros(6, 8), "localmodel.bn.bias": torch.zeros(4)}
    state |= {"pool_g.p": torch.ones(1), "desc_cls.weight": torch.zeros(5, 6), "desc_cls.t": torch.zeros(1)}
    state |= changed
    return {key: value for key, value in state.items() if value is not None}


def test_it_is_recognised_and_delg_s_is_not():
    assert recognises(list(published()))
    assert not recognises(["globalmodel.stem.conv.weight", "globalmodel.head.fc.weight", "desc_cls.weight"])


def test_what_the_tensors_fix():
    found = translate(published(), {})
    assert found.settings == {"backbone": {"name": "resnet18"}, "dim": 6, "multi_atrous": False, "num_classes": 5}
    assert (found.unused, found.optional) == ({}, ())
    expected = {"reduction.weight", "projection.weight", "local.attention.norm.bias", "pooling.p", "loss.weight"}
    assert expected < set(found.state)
    assert "backbone.body.layer4.1.conv1.weight" in found.state


def test_the_block_is_there_if_its_keys_are():
    found = translate(published(**{"localmodel.aspp.aspp.2.weight": torch.zeros(2, 4, 3, 3)}), {})
    assert found.settings["multi_atrous"] is True
    assert "local.context.branches.2.weight" in found.state


def test_without_its_exponent_it_is_the_constant_three():
    found = translate(published(**{"pool_g.p": None}), {})
    assert found.settings["pooling"] == {"name": "gem", "p": 3.0, "learnable": False}
    assert found.implied == ("pooling.",)


def test_without_its_classifier_it_starts_anew():
    found = translate(published(**{"desc_cls.weight": None, "desc_cls.t": None}), {})
    assert "num_classes" not in found.settings
    assert found.optional == ("loss.",)


@pytest.mark.parametrize("key", ["fc_s.weight", "globalmodel.s5.odd", "localmodel.conv3.weight", "s1.b1.f.a.weight"])
def test_a_key_that_is_not_known_keeps_its_name(key):
    assert key in translate(published(**{key: torch.zeros(1)}), {}).state
