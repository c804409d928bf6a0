"""DOLG equals feymanpriv/DOLG; whole networks go through the public door."""

from pathlib import Path

import pytest
import torch
from numpy.testing import assert_allclose
from parity_case import ParityCase, load
from published_file import raw_images, write
from torch import Tensor

import retrieval_bench as rb
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.pooling.orthogonal import orthogonal_component

CASES = Path(__file__).parents[2] / "parity" / "dolg"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def published(name: str, folder: Path) -> tuple[ParityCase, RetrievalModule]:
    case = load(CASES / name)
    file = write(folder / "model_epoch_0100.pyth", case.state_dict, "model_state", epoch=99, cfg="MODEL: {}\n")
    return case, rb.create_model("dolg", backbone=case.settings["backbone"], weights=file)


def network_input(case: ParityCase) -> Tensor:
    """RGB in [0, 1] of an input that the published code gets normalised and in BGR order."""
    return raw_images(case.inputs["image"][:, ::-1].copy(), MEAN, STD)


@pytest.mark.parametrize("name", ["forward_r50", "forward_r50_multi_atrous"])
def test_forward(name, tmp_path):
    case, model = published(name, tmp_path)
    assert model.settings["multi_atrous"] is case.settings["with_ma"]
    assert model.descriptor_dim == case.settings["reduction_dim"]
    assert model.settings["num_classes"] == case.settings["num_classes"]
    assert (model.unused_weights, model.absent_weights) == ({}, ())

    images, out = network_input(case), case.outputs
    assert_allclose(model.describe(images, scales=(1.0,)), out["descriptor"], **case.tolerance)
    with torch.no_grad():
        normalised = model.normalise(images)
        middle, last = model.backbone(normalised)
        pooled = model.pooling(last)
        whole = model.reduction(pooled)
        maps, local = model.local.maps(middle), model.local(middle)
        orthogonal = orthogonal_component(local, whole)
        context = model.local.context(middle)
        embedded = model.embed(normalised)
    assert_allclose(pooled, out["gem"], **case.tolerance)
    assert_allclose(whole, out["fg"], **case.tolerance)
    assert_allclose(maps.scores, out["att_score"], **case.tolerance)
    assert_allclose(model.attention_maps(images), out["att_score"], **case.tolerance)
    assert_allclose(local[:, :8], out["local_feature_first8"], **case.tolerance)
    assert_allclose(local.norm(dim=1), out["local_feature_norm"], **case.tolerance)
    assert_allclose(orthogonal[:, :8], out["orthogonal_first8"], **case.tolerance)
    assert_allclose(orthogonal.mean(dim=(2, 3)), out["fo"], **case.tolerance)
    assert_allclose(embedded, out["global_feature"], **case.tolerance)
    if case.settings["with_ma"]:
        assert_allclose(context.mean(dim=1), out["aspp_channel_mean"], **case.tolerance)
        assert_allclose(context[:, :8], out["aspp_first8"], **case.tolerance)

    labels, before = torch.from_numpy(case.inputs["labels"]), model.loss.t.clone()
    logits = model.loss.logits(embedded, labels).detach()
    assert_allclose(logits, out["global_logits"], **case.tolerance)
    model.loss.t.copy_(before)
    assert_allclose(model.losses(images, labels)["loss"].item(), out["desc_loss"].item(), **case.tolerance)
    assert_allclose(model.loss.t, out["t_after"], **case.tolerance)


def test_train_step(tmp_path):
    case, model = published("train_step_r50", tmp_path)
    model.train()
    loss = model.losses(network_input(case), torch.from_numpy(case.inputs["labels"]))["loss"]
    loss.backward()
    out = case.outputs
    assert_allclose(loss.item(), out["desc_loss"].item(), **case.tolerance)
    assert_allclose(model.loss.t, out["t_after"], **case.tolerance)
    expected = {
        "pooling.p": "pool_g.p",
        "reduction.bias": "fc_t.bias",
        "projection.bias": "fc.bias",
        "local.attention.score.weight": "localmodel.conv2.weight",
        "local.attention.norm.weight": "localmodel.bn.weight",
    }
    parameters = dict(model.named_parameters())
    for ours, theirs in expected.items():
        stored = out[f"grad__{theirs}"]
        found = parameters[ours].grad.flatten()[: stored.size]
        assert_allclose(found, stored, **case.tolerance, err_msg=ours)
    assert_allclose(model.loss.weight.grad[:, :8], out["grad__desc_cls.weight_first8cols"], **case.tolerance)
    for ours, theirs in (("conv1.weight", "stem.conv.weight"), ("layer3.0.conv1.weight", "s3.b1.f.a.weight")):
        norm = parameters[f"backbone.body.{ours}"].grad.norm().item()
        assert_allclose(norm, out[f"gradnorm__globalmodel.{theirs}"].item(), **case.tolerance, err_msg=ours)
    stored = out["running_mean_after__localmodel.bn"]
    assert_allclose(model.local.attention.norm.running_mean[: stored.size], stored, **case.tolerance)


def test_multiscale_descriptor(tmp_path):
    case, model = published("multiscale_r101", tmp_path)
    image = torch.from_numpy(case.inputs["image_bgr"]).flip(-1).permute(2, 0, 1)[None]
    assert_allclose(model.describe(image)[0], case.outputs["descriptor"], **case.tolerance)
    for scale, expected in zip(case.settings["scales"], case.outputs["per_scale"], strict=True):
        assert_allclose(model.describe(image, scales=(scale,))[0], expected, **case.tolerance)


def test_a_release_without_its_exponent_gives_the_same_descriptor(tmp_path):
    case = load(CASES / "forward_r50")
    state = {key: value for key, value in case.state_dict.items() if key != "pool_g.p"}
    model = rb.create_model("dolg", weights=write(tmp_path / "r50_dolg_512.pyth", state, "model_state"))
    assert model.absent_weights == ()
    assert not model.pooling.p.requires_grad
    assert case.state_dict["pool_g.p"] == [3.0]
    assert_allclose(model.describe(network_input(case), scales=(1.0,)), case.outputs["descriptor"], **case.tolerance)
