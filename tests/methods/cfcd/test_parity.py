"""CFCD equals bassyess/CFCD; whole networks go through the public door. Losses: test_matching, losses/test_madacos."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from parity_case import ParityCase, load
from published_file import raw_images, tensors, write
from torch import Tensor, nn

import retrieval_bench as rb
from retrieval_bench.losses import LOSSES
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.pooling.orthogonal import orthogonal_component
from retrieval_bench.settings.errors import InputError

CASES = Path(__file__).parents[2] / "parity" / "madacos"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def written(case: ParityCase, folder: Path, name: str = "model_s2_0050.pyth", without: str = "-") -> Path:
    state = {key: value for key, value in case.state_dict.items() if not key.startswith(without)}
    return write(folder / name, state, "model_state", epoch=49, optimizer_state={}, cfg="MODEL: {}\n")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[ParityCase, RetrievalModule]:
    case = load(CASES / "r50_descriptor")
    return case, rb.create_model("cfcd", weights=written(case, tmp_path_factory.mktemp("cfcd")))


def network_input(case: ParityCase) -> Tensor:
    """RGB in [0, 1] of an input that the published code gets normalised and in BGR order."""
    return raw_images(case.inputs["cfcd/x"][:, ::-1].copy(), MEAN, STD)


def picture(case: ParityCase) -> Tensor:
    """``(1, 3, H, W)`` RGB in [0, 1] of the case's BGR picture, which has grey levels above 255 too."""
    return torch.from_numpy(case.inputs["cfcd/image"][..., ::-1].copy()).permute(2, 0, 1)[None] / 255


def test_what_the_checkpoint_fixes(published: tuple[ParityCase, RetrievalModule]) -> None:
    case, model = published
    assert model.settings["backbone"]["name"] == f"resnet{case.settings['depth']}"
    assert model.descriptor_dim == 512
    assert model.settings["num_classes"] == case.settings["classes"]
    assert model.unused_weights == {}
    assert model.absent_weights == ()
    assert float(model.pooling.p) == 3
    assert torch.equal(model.loss.weight, torch.from_numpy(case.state_dict["desc_cls.weight"]))


def test_descriptor_of_one_scale(published: tuple[ParityCase, RetrievalModule]) -> None:
    case, model = published
    images = network_input(case)
    with torch.no_grad():
        normalised = model.normalise(images)
        assert_allclose(normalised, case.inputs["cfcd/x"], rtol=1e-5, atol=1e-5)
        last = model.backbone(normalised)[-1]
        embedded = model.embed(normalised)
    assert_allclose(last[:, :8], case.outputs["res4_first8.x"], **case.tolerance)
    assert_allclose(last.abs().sum(dim=1), case.outputs["attention.x"], **case.tolerance)
    assert_allclose(embedded, case.outputs["global_feature.x"], **case.tolerance)
    assert_allclose(model.describe(images, scales=(1.0,)), case.outputs["descriptor.x"], **case.tolerance)


def test_descriptor_of_the_published_scales(published: tuple[ParityCase, RetrievalModule]) -> None:
    case, model = published
    assert list(model.protocol.scales) == case.settings["scales"]
    image = picture(case)
    assert_allclose(model.describe(image)[0], case.outputs["multi_scale.image"], **case.tolerance)
    assert_allclose(model.describe(image, scales=(1.0,))[0], case.outputs["bgr_input_scale1.image"], **case.tolerance)


def test_a_file_for_deployment_lacks_the_classifier(tmp_path: Path) -> None:
    case = load(CASES / "r50_descriptor")
    model = rb.create_model("cfcd", weights=written(case, tmp_path, without="desc_cls."))
    assert model.settings["num_classes"] is None
    images = network_input(case)
    assert_allclose(model.describe(images, scales=(1.0,)), case.outputs["descriptor.x"], **case.tolerance)


def test_a_state_dict_alone(tmp_path: Path) -> None:
    case = load(CASES / "r50_descriptor")
    torch.save(tensors(case.state_dict), tmp_path / "bare.pyth")
    model = rb.create_model("cfcd", weights=tmp_path / "bare.pyth", num_classes=12)
    assert torch.equal(model.norm.running_var, torch.from_numpy(case.state_dict["bn.running_var"]))


def test_a_tensor_that_does_not_belong_is_named(tmp_path: Path) -> None:
    case = load(CASES / "r50_descriptor")
    state = case.state_dict | {"localmodel.conv1.weight": np.zeros((2, 2), dtype=np.float32)}
    file = write(tmp_path / "dolg_like.pyth", state, "model_state")
    with pytest.raises(InputError, match=r"localmodel\.conv1\.weight"):
        rb.create_model("cfcd", weights=file)


def test_the_code_base_s_other_loss_and_its_unused_fusion() -> None:
    case = load(CASES / "arcface_and_orthogonal")
    weight = torch.from_numpy(case.state_dict["weight"])
    noise, labels, multiplier = (torch.from_numpy(case.inputs[f"m/{key}"]) for key in ("noise", "label", "mult"))
    features = noise + weight[labels] * multiplier[:, None]
    options = {"margin": case.settings["m"], "scale": float(case.settings["s"])}
    loss = LOSSES.create("curricularface", options, dim=case.settings["dim"], num_classes=len(weight))
    loss.load_state_dict({"weight": weight, "t": torch.zeros(1)})
    for step in ("first", "second"):
        logits = loss.logits(features, labels).detach()
        assert_allclose(logits, case.outputs[f"logits_{step}"], **case.tolerance)
        assert_allclose(loss.t, case.outputs[f"t_{step}"], **case.tolerance)
        if step == "first":
            assert_allclose(F.cross_entropy(logits, labels), case.outputs["loss_first"], **case.tolerance)
    assert_allclose(loss.logits(features).detach(), case.outputs["logits_eval"], **case.tolerance)

    vector, feature_map = (torch.from_numpy(case.inputs[case.settings[key]]) for key in ("g", "l"))
    # Unlike DOLG's, this fusion brings the global vector to unit length before it is concatenated.
    local = orthogonal_component(feature_map, vector).mean(dim=(2, 3))
    fused = torch.cat([F.normalize(vector, dim=1), local], dim=1)
    dim = case.settings["dim"]
    head = nn.Sequential(OrderedDict(fc=nn.Linear(2 * dim, dim), bn=nn.BatchNorm1d(dim)))
    prefix = "orth."
    state = {key.removeprefix(prefix): value for key, value in case.state_dict.items() if key.startswith(prefix)}
    head.load_state_dict(tensors(state))
    with torch.no_grad():
        assert_allclose(head.eval()(fused), case.outputs["orthogonal"], **case.tolerance)
