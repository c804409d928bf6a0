"""Two processes with half a batch each compute what one process computes with the whole."""

import subprocess
import sys

import joint_steps
import pytest
import torch
from numpy.testing import assert_allclose

import retrieval_bench as rb
from retrieval_bench.training.joint_batchnorm import JointBatchNorm, JointStatistics

METHODS = rb.list_methods()


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """What the two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, joint_steps.__file__]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(folder / "rendezvous"), str(folder), ",".join(METHODS)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in running:
        _, said = process.communicate(timeout=280)
        assert process.returncode == 0, said
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("method", METHODS)
def test_losses_are_those_of_the_joint_batch(method, halves):
    model = joint_steps.build(method)
    whole = joint_steps.steps(joint_steps.Losses(model), model, slice(None))
    first, second = (torch.tensor(half[method]) for half in halves)
    assert_allclose((first + second) / 2, whole, rtol=2e-4)
    assert whole[0] != pytest.approx(whole[-1], rel=1e-3)


def test_batch_normalisation_over_two_processes(halves):
    whole = joint_steps.normalise(slice(None), joint=False)
    first, second = (half["batch norm"] for half in halves)
    assert_allclose(torch.cat([first["out"], second["out"]]), whole["out"], rtol=1e-5, atol=1e-6)
    together = torch.cat([first["input gradient"], second["input gradient"]])
    assert_allclose(together, whole["input gradient"], rtol=1e-4, atol=1e-6)
    summed = first["weight gradient"] + second["weight gradient"]
    assert_allclose(summed, whole["weight gradient"], rtol=1e-4, atol=1e-6)
    for buffer in ("running_mean", "running_var", "num_batches_tracked"):
        assert_allclose(first[buffer], whole[buffer], rtol=1e-6, atol=1e-7)
        assert torch.equal(first[buffer], second[buffer])


def test_modules_join_and_get_their_class_back():
    model = rb.create_model("gem", backbone="test_resnet", dim=16)
    before = {name: type(module) for name, module in model.named_modules()}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    described = model.describe(images)
    switch = JointStatistics()
    joined = switch.apply(model)
    assert isinstance(joined.backbone.body.bn1, JointBatchNorm)
    assert torch.equal(joined.describe(images), described)
    assert {name: type(module) for name, module in switch.revert(joined).named_modules()} == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_an_activation_within_the_layer_is_kept():
    from timm.layers import BatchNormAct2d

    layer = BatchNormAct2d(4, act_layer=torch.nn.SiLU)
    values = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    expected = layer.eval()(values)
    layer.__class__ = JointBatchNorm
    assert_allclose(layer(values).detach(), expected.detach(), rtol=1e-5, atol=1e-6)
