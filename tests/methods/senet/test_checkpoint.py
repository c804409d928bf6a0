"""What a published SENet file says of itself, from its keys and shapes."""

import pytest
import torch

from retrieval_bench.methods.senet.checkpoint import recognises, translate


def published(layers=2, kernel=3, **changed):
    """A ResNet-18's keys with tensors of one value; a structural module of 4 channels, 6-D."""
    blocks = {f"s{stage}.b{block}.f.a.weight" for stage in range(1, 5) for block in (1, 2)}
    state = {key: torch.zeros(1) for key in ("stem.conv.weight", *blocks)}
    state |= {"SSM.ch_reduction_encoder.weight": torch.zeros(4, 8, 1, 1), "head.fc.weight": torch.zeros(6, 8)}
    for index in range(layers):
        weight = torch.arange(16.0 * kernel**2).reshape(4, 4, 1, kernel, kernel)
        state |= {f"SSM.SSE.conv_in.{index}.0.weight": weight, f"SSM.SSE.conv_in.{index}.1.bias": torch.ones(4)}
    return state | changed


@pytest.mark.parametrize(("layers", "unfold"), [(1, 3), (2, 5), (3, 7)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_what_the_tensors_fix(layers, unfold, kernel):
    state = published(layers, kernel)
    assert recognises(list(state))
    found = translate(state, {})
    assert found.settings == {
        "backbone": {"name": "resnet18"},
        "mid_dim": 4,
        "unfold_size": unfold,
        "kernel_size": kernel,
        "dim": 6,
    }
    assert found.unused == {}
    assert (found.optional, found.implied) == (("loss.",), ("pooling.",))


def test_tensors_under_our_names_without_the_depth():
    state = published(**{"SSM.SSE.conv1x1_out.1.running_var": torch.ones(8), "SSM.FFN.2.bias": torch.ones(8)})
    found = translate(state, {}).state
    weight = found["structure.encoder.1.0.weight"]
    assert torch.equal(weight, state["SSM.SSE.conv_in.1.0.weight"][:, :, 0])
    expected = {"structure.encoder.1.1.bias", "structure.expand_norm.running_var", "structure.feed_forward.2.bias"}
    assert expected < set(found)
    assert "backbone.body.layer4.1.conv1.weight" in found


def test_a_kernel_with_a_depth_keeps_it_and_will_not_fit():
    deep = torch.zeros(4, 4, 2, 3, 3)
    found = translate(published(**{"SSM.SSE.conv_in.1.0.weight": deep}), {}).state
    assert found["structure.encoder.1.0.weight"].shape == deep.shape


@pytest.mark.parametrize("key", ["SSM.odd.weight", "head.pool.p", "encoder_q.stem.conv.weight"])
def test_a_key_that_is_not_known_keeps_its_name(key):
    assert key in translate(published(**{key: torch.zeros(1)}), {}).state


def test_other_files_are_not_recognised():
    assert not recognises(["encoder_q.stem.conv.weight", "encoder_q.head.fc.weight"])
    assert not recognises(["stem.conv.weight", "head.fc.weight"])
