"""DELG equals feymanpriv/DELG and the TensorFlow heads; whole networks go through the public door."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from parity_case import ParityCase, load
from published_file import raw_images, tensors, write
from torch import Tensor

import retrieval_bench as rb
from retrieval_bench.losses import LOSSES
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.delg.local import AutoencoderBranch
from retrieval_bench.pooling.gem import generalised_mean

CASES = Path(__file__).parents[2] / "parity" / "delg"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def published(name: str, folder: Path) -> tuple[ParityCase, RetrievalModule]:
    case = load(CASES / name)
    file = write(folder / "model_epoch_0100.pyth", case.state_dict, "model_state", epoch=99, cfg="MODEL: {}\n")
    return case, rb.create_model("delg", backbone=case.settings["backbone"], weights=file)


def network_input(case: ParityCase, key: str) -> Tensor:
    """RGB in [0, 1] of an input that the published code gets normalised and in BGR order."""
    return raw_images(case.inputs[key][:, ::-1].copy(), MEAN, STD)


def uint8_rgb(case: ParityCase) -> Tensor:
    bgr = torch.from_numpy(case.inputs["image_bgr"])
    return bgr.flip(-1).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def forward(tmp_path_factory):
    return published("forward_r50", tmp_path_factory.mktemp("forward"))


def test_sizes_are_read_from_the_checkpoint(forward):
    case, model = forward
    assert model.settings["variant"] == "pytorch"
    assert model.descriptor_dim == case.settings["reduction_dim"]
    assert model.settings["num_classes"] == case.settings["num_classes"]
    assert model.unused_weights == {}


def test_descriptor_and_maps(forward):
    case, model = forward
    images = network_input(case, "image")
    assert_allclose(model.describe(images, scales=(1.0,)), case.outputs["descriptor"], **case.tolerance)
    with torch.no_grad():
        middle, last = model.backbone(model.normalise(images))
        maps = model.local(middle)
    assert_allclose(middle.mean(1), case.outputs["s3_channel_mean"], **case.tolerance)
    assert_allclose(last.mean(1), case.outputs["s4_channel_mean"], **case.tolerance)
    assert_allclose(maps.scores, case.outputs["att_score"], **case.tolerance)
    weighted = (maps.descriptors * maps.scores)[:, :16]
    assert_allclose(weighted, case.outputs["local_feature_first16"], **case.tolerance)


def test_losses(forward):
    case, model = forward
    losses = model.losses(network_input(case, "image"), torch.from_numpy(case.inputs["labels"]))
    desc, att = case.outputs["desc_loss"].item(), case.outputs["att_loss"].item()
    assert_allclose(losses["global"].item(), desc, **case.tolerance)
    assert_allclose(losses["attention"].item(), att, **case.tolerance)
    assert_allclose(losses["loss"].item(), desc + att, **case.tolerance)
    assert_allclose(model.loss.t, case.outputs["t_after"], **case.tolerance)


def test_train_step(tmp_path):
    case, model = published("train_step_r50", tmp_path)
    model.train()
    losses = model.losses(network_input(case, "image"), torch.from_numpy(case.inputs["labels"]))
    losses["loss"].backward()
    assert_allclose(losses["global"].item(), case.outputs["desc_loss"].item(), **case.tolerance)
    assert_allclose(losses["attention"].item(), case.outputs["att_loss"].item(), **case.tolerance)
    expected = {
        "pooling.p": "grad__globalmodel.head.pool.p",
        "projection.bias": "grad__globalmodel.head.fc.bias",
        "backbone.body.layer4.2.bn3.weight": "grad__globalmodel.s4.b3.f.c_bn.weight",
        "local.score.weight": "grad__localmodel.conv2.weight",
        "local.classifier.bias": "grad__att_cls.fc.bias",
    }
    parameters = dict(model.named_parameters())
    for ours, theirs in expected.items():
        assert_allclose(parameters[ours].grad, case.outputs[theirs], **case.tolerance, err_msg=ours)
    assert_allclose(model.loss.weight.grad[:, :8], case.outputs["grad__desc_cls.weight_first8cols"], **case.tolerance)
    # Equal norms in the backbone show that nothing of the attention loss got there.
    for ours, theirs in (("conv1.weight", "stem.conv.weight"), ("layer3.0.conv1.weight", "s3.b1.f.a.weight")):
        norm = parameters[f"backbone.body.{ours}"].grad.norm()
        assert_allclose(norm.item(), case.outputs[f"gradnorm__globalmodel.{theirs}"].item(), **case.tolerance)
    assert_allclose(model.local.norm.running_mean, case.outputs["running_mean_after__localmodel.bn"], **case.tolerance)
    assert_allclose(model.local.norm.running_var, case.outputs["running_var_after__localmodel.bn"], **case.tolerance)


def test_multiscale_descriptor(tmp_path):
    case, model = published("global_multiscale_r101", tmp_path)
    assert_allclose(model.describe(uint8_rgb(case))[0], case.outputs["descriptor"], **case.tolerance)
    for scale, expected in zip(case.settings["scales"], case.outputs["per_scale"], strict=True):
        assert_allclose(model.describe(uint8_rgb(case), scales=(scale,))[0], expected, **case.tolerance)


def test_local_features(tmp_path):
    case, model = published("extract_local_r50", tmp_path)
    features = model.local_features(uint8_rgb(case))[0]
    assert len(features) == case.settings["nms_count"]
    assert (features.scores.diff() <= 0).all()

    def rows(scales: np.ndarray, keypoints_xy: np.ndarray) -> dict[tuple[float, ...], int]:
        keys = np.round(np.column_stack([scales, keypoints_xy]), 2)
        return {tuple(key): row for row, key in enumerate(keys.tolist())}

    ours = rows(features.scales.numpy(), features.keypoints.numpy())
    theirs = rows(case.outputs["scales"], case.outputs["locations_yx"][:, ::-1])
    shared = sorted(set(ours) & set(theirs))
    assert len(shared) >= case.settings["nms_count"] - 4
    mine, other = [ours[key] for key in shared], [theirs[key] for key in shared]
    assert_allclose(features.scores[mine], case.outputs["scores"][other], **case.tolerance)
    assert_allclose(features.descriptors[mine][:, :16], case.outputs["descriptors_first16"][other], **case.tolerance)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_tensorflow_heads(mode):
    case = load(CASES / "tf_heads")
    weights, out, tolerance = tensors(case.state_dict), case.outputs, case.tolerance
    head = AutoencoderBranch(1024, 128, 512, case.settings["num_classes"]).train(mode == "train")

    def conv(name: str) -> dict[str, Tensor]:
        return {"weight": weights[f"{name}/kernel"].permute(3, 2, 0, 1), "bias": weights[f"{name}/bias"]}

    state = {
        "reduce": conv("autoencoder/conv1"),
        "expand": conv("autoencoder/conv2"),
        "hidden": conv("attention/conv1"),
        "score": conv("attention/conv2"),
        "norm": {
            "weight": weights["attention/bn_conv1/gamma"],
            "bias": weights["attention/bn_conv1/beta"],
            "running_mean": weights["attention/bn_conv1/moving_mean"],
            "running_var": weights["attention/bn_conv1/moving_variance"],
            "num_batches_tracked": torch.tensor(0),
        },
        "classifier": {"weight": weights["attn_classification/kernel"].T, "bias": weights["attn_classification/bias"]},
    }
    head.load_state_dict({f"{layer}.{key}": value for layer, keys in state.items() for key, value in keys.items()})
    inputs = tensors(case.inputs)
    block3 = inputs["block3"].permute(0, 3, 1, 2).requires_grad_()
    losses = head.training_losses(block3, inputs["labels"])
    assert_allclose(losses["attention"].item(), out[f"{mode}__att_loss"].item(), **tolerance)
    assert_allclose(losses["reconstruction"].item(), out[f"{mode}__recon_loss"].item(), **tolerance)

    pooled = generalised_mean(inputs["block4"].permute(0, 3, 1, 2), case.settings["gem_power"])
    embedding = pooled @ weights["backbone/embedding_layer/kernel"] + weights["backbone/embedding_layer/bias"]
    arcface = LOSSES.create(
        "arcface",
        {"margin": case.settings["arcface_margin"], "scale": case.settings["scale_factor"]},
        dim=case.settings["embedding_dim"],
        num_classes=case.settings["num_classes"],
    )
    arcface.weight.data = weights["cosine_weights"].T.contiguous()
    labels = inputs["labels"] if mode == "train" else None
    logits = arcface.logits(embedding, labels)
    assert_allclose(logits.detach(), out[f"{mode}__desc_logits"], **tolerance)
    if mode == "eval":
        maps = head(block3.detach())
        assert_allclose(maps.scores[:, 0].detach(), out["eval__att_prob"], **tolerance)
        codes = maps.descriptors[:, :32].permute(0, 2, 3, 1).detach()
        assert_allclose(codes, out["eval__local_descriptor_l2_first32"], **tolerance)
        assert_allclose(embedding, out["eval__embedding"], **tolerance)
        return
    (losses["attention"] + 10 * losses["reconstruction"]).backward()
    assert block3.grad is None, "the local losses reached the backbone"
    kernel = head.reduce.weight.grad[:8, :4, 0, 0].T
    assert_allclose(kernel, out["train__grad_total__autoencoder.conv1.kernel_4x8"], **tolerance)
    assert_allclose(head.score.weight.grad.flatten(), out["train__grad_total__attention.conv2.kernel"], **tolerance)
    assert_allclose(head.norm.running_mean, out["train__moving_mean_after"], **tolerance)
    assert_allclose(head.norm.running_var, out["train__moving_variance_after"], **tolerance)
