"""SuperGlobal equals the authors' code; whole networks go through the public door."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from parity_case import ParityCase, load
from published_file import raw_images, write
from torch import Tensor

import retrieval_bench as rb
from retrieval_bench.methods.merging import maximum, shifted_power
from retrieval_bench.methods.superglobal.module import SuperGlobal
from retrieval_bench.pooling.rgem import regional_gem

CASES = Path(__file__).parents[2] / "parity" / "superglobal"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SWITCHES = ("gemp", "rgem", "sgem", "relup", "antialias")
SCALES = {1: (1.0,), 3: None, 5: (0.5, 0.7071, 1.0, 1.4142, 2.0)}
"""The authors' sets; None is the protocol's own."""

R50, R101 = load(CASES / "r50_descriptor"), load(CASES / "r101_descriptor")


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def images_of(case: ParityCase) -> Tensor:
    """RGB in [0, 1] of an input that the published code gets normalised and in BGR order."""
    return raw_images(case.inputs[case.settings["input"]][:, ::-1].copy(), MEAN, STD)


def check_variant(case: ParityCase, file: Path, backbone: str, name: str) -> None:
    variant = case.settings["variants"][name]
    switches = {key: variant[key] for key in SWITCHES}
    model = rb.create_model("superglobal", backbone=backbone, weights=file, **switches)
    described = model.describe(images_of(case), scales=SCALES[variant["scales"]])
    assert_allclose(described, unit(case.outputs[f"desc_{name}"]), **case.tolerance)


@pytest.fixture(scope="module")
def r50(tmp_path_factory):
    return write(tmp_path_factory.mktemp("r50") / "CVPR2022_CVNet_R50.pyth", R50.state_dict, "model_state")


@pytest.fixture(scope="module")
def r101(tmp_path_factory):
    return write(tmp_path_factory.mktemp("r101") / "CVPR2022_CVNet_R101.pyth", R101.state_dict, "model_state")


@pytest.mark.parametrize("name", R50.settings["variants"])
def test_r50_descriptors(r50, name):
    check_variant(R50, r50, "resnet50", name)


@pytest.mark.parametrize("name", R101.settings["variants"])
def test_r101_descriptors(r101, name):
    check_variant(R101, r101, "resnet101", name)


@pytest.mark.parametrize("switch", ["relup", "norelup"])
def test_r50_steps(r50, switch):
    out, tolerance = R50.outputs, R50.tolerance
    model = rb.create_model("superglobal", weights=r50, relup=switch == "relup")
    assert isinstance(model, SuperGlobal)
    images = model.normalise(images_of(R50))
    with torch.no_grad():
        level = model.backbone.body.maxpool(
            model.backbone.body.act1(model.backbone.body.bn1(model.backbone.body.conv1(images)))
        )
        for stage in range(1, 5):
            level = model.backbone.body[f"layer{stage}"](level)
            assert_allclose(level.mean(1), out[f"s{stage}_channel_mean_{switch}"], **tolerance)
        if switch == "norelup":
            return
        refined = regional_gem(level)
        assert_allclose(refined.mean(1), out["rgem_channel_mean"], **tolerance)
        assert_allclose(refined[:, :16], out["rgem_first_16"], **tolerance)
        assert_allclose(model.gem_plus(refined), out["gemp_pooled"], **tolerance)
        assert_allclose(model.embed(images), out["fc_single_scale"], **tolerance)


@pytest.mark.parametrize("antialias", [False, True], ids=["no_antialias", "antialias"])
def test_extraction_from_files(tmp_path, antialias):
    import cv2

    case = load(CASES / "r50_extraction")
    weights = write(tmp_path / "CVPR2022_CVNet_R50.pyth", case.state_dict, "model_state")
    model = rb.create_model("superglobal", weights=weights, antialias=antialias)
    kind = "antialias" if antialias else "no_antialias"
    for group, boxes in (("query", case.settings["query_bbx"]), ("db", None)):
        files = []
        for name in case.settings[f"{group}_images"]:
            files.append(tmp_path / f"{name.rpartition('/')[2]}.png")
            cv2.imwrite(str(files[-1]), case.inputs[name])
        described = rb.extract(model, files, boxes=boxes)
        assert_allclose(described, case.outputs[f"{group}_{kind}"], **case.tolerance)


def test_scale_gem():
    case = load(CASES / "modules")
    stacked = torch.stack([torch.from_numpy(case.inputs[f"superglobal/d{number}"]) for number in range(3)])
    assert_allclose(maximum(stacked, 1.0), case.outputs["sgem_infinity"], **case.tolerance)
    # The published code takes the least value over the whole batch: as here, where the batch is one long descriptor.
    whole = stacked.flatten(1)[:, None]
    for exponent in (10, 3):
        merged = shifted_power(whole, float(exponent)).view(stacked.shape[1:])
        assert_allclose(merged, case.outputs[f"sgem_ps{exponent}_finite"], **case.tolerance)


def test_every_published_tensor_is_accounted_for(r50):
    model = rb.create_model("superglobal", weights=r50)
    published = set(R50.state_dict)
    assert set(model.unused_weights) == {key for key in published if key.startswith(("conv2ds.", "cv_learner."))}
    assert all("re-ranking network" in reason for reason in model.unused_weights.values())
    assert model.absent_weights == ()
    assert model.weights_source == "CVPR2022_CVNet_R50.pyth (sungonce/CVNet)"
