"""DOLG's, SENet's and SpCa's heads as poolings equal the authors' networks, from feature maps to what is projected."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from parity_case import ParityCase, load
from published_file import raw_images, write
from torch import Tensor

import retrieval_bench as rb
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.pooling import POOLINGS, Pooling

CASES = Path(__file__).parents[1] / "parity"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def published(name: str, wrapper: str, backbone: str, folder: Path) -> tuple[ParityCase, RetrievalModule]:
    case = load(CASES / name)
    file = write(folder / "weights.pth", case.state_dict, wrapper)
    model = rb.create_model(name.partition("/")[0], backbone=backbone, weights=file)
    file.unlink()
    return case, model


def as_pooling(model: RetrievalModule, parts: tuple[str, ...], **options: object) -> Pooling:
    """The pooling of the method's name with the method's own tensors."""
    channels = model.backbone.channels
    pooling: Pooling = POOLINGS.create(
        model.method, options, in_channels=channels[-1], earlier_channels=channels[0], token_channels=None
    )
    state = {key: value for key, value in model.state_dict().items() if key.startswith(parts)}
    pooling.load_state_dict({**state, "p": model.pooling.p})
    return pooling.eval()


def network_input(model: RetrievalModule, case: ParityCase, key: str, *, bgr: bool) -> Tensor:
    image = case.inputs[key]
    return model.normalise(raw_images(image[:, ::-1].copy() if bgr else image, MEAN, STD))


@torch.no_grad()
@pytest.mark.parametrize("name", ["forward_r50", "forward_r50_multi_atrous"])
def test_dolg(name: str, tmp_path: Path) -> None:
    case, model = published(f"dolg/{name}", "model_state", "resnet50", tmp_path)
    pooling = as_pooling(model, ("local.", "reduction."), multi_atrous=case.settings["with_ma"])
    features = model.features(network_input(model, case, "image", bgr=True))
    pooled = pooling(features.maps[-1], *pooling.needed(features))
    assert pooled.shape[1] == pooling.out_channels
    whole, beyond = pooled.chunk(2, dim=1)
    assert_allclose(whole, case.outputs["fg"], **case.tolerance)
    assert_allclose(beyond, case.outputs["fo"], **case.tolerance)
    assert_allclose(model.projection(pooled), case.outputs["global_feature"], **case.tolerance)


@torch.no_grad()
def test_senet(tmp_path: Path) -> None:
    case, model = published("senet/r50_single", "model_state", "resnet50", tmp_path)
    sizes = {key: case.settings[key] for key in ("mid_dim", "unfold_size", "kernel_size")}
    pooling = as_pooling(model, ("structure.",), **sizes)
    (feature_map,) = model.backbone(network_input(model, case, "senet/x", bgr=True))
    assert_allclose(pooling(feature_map), case.outputs["pooled"], **case.tolerance)


@torch.no_grad()
def test_spca(tmp_path: Path) -> None:
    case, model = published("spca/r50_cro_eval", "state_dict", "resnet50", tmp_path)
    sizes = {key: model.settings[key] for key in ("fuser", "codebook_size", "local_dim", "powers")}
    pooling = as_pooling(model, ("context.", "fuser."), **sizes)
    (key,) = case.inputs
    (feature_map,) = model.backbone(network_input(model, case, key, bgr=False))
    described = F.normalize(model.projection(pooling(feature_map)), dim=1)
    assert_allclose(described, case.outputs["descriptor"], **case.tolerance)
