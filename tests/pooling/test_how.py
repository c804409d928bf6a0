"""HOW's pooling: the global vectors of the authors' code, at one scale and many, and every step against a loop."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from parity_case import ParityCase, load
from published_file import tensors
from torch import Tensor

from retrieval_bench import contracts
from retrieval_bench.backbones import Backbone, create_backbone
from retrieval_bench.methods.naming import sequential_to_timm
from retrieval_bench.pooling import POOLINGS, Pooling
from retrieval_bench.pooling.how import pca_whitening, smoothed, strongest, vector_lengths
from retrieval_bench.pooling.normalise import l2_normalise
from retrieval_bench.settings.errors import InputError

CASES = Path(__file__).parents[1] / "parity" / "how"


@cache
def published(name: str) -> tuple[ParityCase, Backbone, Pooling]:
    """The backbone as far as its third stage, and the pooling."""
    case = load(CASES / name)
    backbone = create_backbone("resnet50", out_stages=(-2,)).eval()
    pooling = POOLINGS.create("how", {"dim": case.settings["dim"]}, in_channels=backbone.channels[0]).eval()
    layers, reduction = {}, {}
    for key, value in tensors(case.state_dict).items():
        if key.startswith("features."):
            layers[f"body.{sequential_to_timm(key.removeprefix('features.'))}"] = value
        else:
            reduction[key] = value
    assert not backbone.load_state_dict(layers, strict=False).unexpected_keys
    pooling.load_state_dict(reduction)
    return case, backbone, pooling


def image_of(case: ParityCase) -> Tensor:
    ((name, image),) = tensors(case.inputs).items()
    if name.endswith("image_small"):
        factor = case.settings["upsample"]
        image = F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
    return image


@torch.no_grad()
@pytest.mark.parametrize("name", ["r50_minus", "r50_minus_multiscale"])
def test_global_vectors_equal_the_published(name: str) -> None:
    case, backbone, pooling = published(name)
    image = image_of(case)
    single = pooling(backbone(image)[0])
    assert_allclose(l2_normalise(single), case.outputs["global_single_scale"], **case.tolerance)
    total = torch.zeros_like(single)
    for scale in case.settings["scales"]:
        scaled = image
        if scale != 1:
            scaled = F.interpolate(
                image, scale_factor=scale, mode="bilinear", align_corners=False, recompute_scale_factor=True
            )
        total += pooling(backbone(scaled)[0])
    assert_allclose(l2_normalise(total), case.outputs["global_multi_scale"], **case.tolerance)


@torch.no_grad()
def test_attention_and_local_descriptors_equal_the_published() -> None:
    """Those of scale 1, where all of this case's kept features lie; attention there is divided by its maximum."""
    case, backbone, pooling = published("r50_minus")
    feature_map = backbone(image_of(case))[0]
    lengths, stored = vector_lengths(feature_map)[0, 0], torch.from_numpy(case.outputs["attention_map_scale1"])
    assert_allclose(lengths / lengths.max(), stored / stored.max(), **case.tolerance)
    rows = [(int(y), int(x)) for x, y in case.outputs["locations"]]
    local = torch.stack([pooling.local(feature_map)[0, :, row, column] for row, column in rows])
    assert set(case.outputs["scales_of_descriptors"].tolist()) == {1.0}
    assert_allclose(local[:, :8], case.outputs["descriptors_slice"], **case.tolerance)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 3)])
def test_smoothing_divides_by_what_lies_inside(size: int, shape: tuple[int, int]) -> None:
    feature_map = draw(1, 2, *shape)
    expected = torch.empty_like(feature_map)
    for row in range(shape[0]):
        for column in range(shape[1]):
            reach = size // 2
            rows = slice(max(0, row - reach), row + reach + 1)
            columns = slice(max(0, column - reach), column + reach + 1)
            expected[0, :, row, column] = feature_map[0, :, rows, columns].mean(dim=(1, 2))
    torch.testing.assert_close(smoothed(feature_map, size), expected)


def test_without_a_linear_map_by_a_loop() -> None:
    feature_map = draw(2, 5, 3, 4)
    found = POOLINGS.create("how", {}, in_channels=5)(feature_map)
    around = smoothed(feature_map, 3)
    for image in range(2):
        vectors = feature_map[image].flatten(1).T
        expected = sum(v.norm() * u for v, u in zip(vectors, around[image].flatten(1).T, strict=True))
        torch.testing.assert_close(found[image], expected)


@pytest.mark.parametrize("learnable", [True, False])
def test_the_map_stays_fixed_unless_it_is_to_learn(learnable: bool) -> None:
    pooling = POOLINGS.create("how", {"dim": 4, "learnable": learnable}, in_channels=5)
    assert pooling.out_channels == 4
    assert all(parameter.requires_grad == learnable for parameter in pooling.parameters())
    published = POOLINGS.create("how", {"dim": 4}, in_channels=5)
    assert not any(parameter.requires_grad for parameter in published.parameters())


def test_whitening_equals_that_of_the_authors_code() -> None:
    """gtolias/how ``whitening.pcawhitenlearn_shrinkage`` with exponent 1, by its formula; directions have no sign."""
    vectors = draw(400, 6).double() @ torch.diag(torch.tensor([9.0, 5, 3, 2, 1, 0.5]).double()) + 100
    weight, bias = pca_whitening(iter(vectors.split(150)), 4)
    centred = vectors.numpy() - vectors.numpy().mean(axis=0)
    variances, directions = np.linalg.eig(centred.T @ centred / len(centred))
    order = variances.argsort()[::-1][:4]
    expected = (directions[:, order] / np.sqrt(variances[order])).T
    signs = np.sign((weight.numpy() * expected).sum(axis=1, keepdims=True))
    assert_allclose(weight, signs * expected, rtol=1e-8, atol=1e-10)
    assert_allclose(bias, -weight.numpy() @ vectors.numpy().mean(axis=0), rtol=1e-8)


def test_whitened_descriptors_are_white_where_they_vary() -> None:
    vectors = draw(400, 2) @ torch.tensor([[1.0, 2, 3, 0, 0], [0, 1, -1, 0, 0]])
    weight, bias = pca_whitening(iter([vectors]), 7)
    white = vectors.double() @ weight.T + bias
    assert_allclose(white.T @ white / 400, np.diag([1.0, 1, 0, 0, 0, 0, 0]), atol=1e-8)
    assert not weight[2:].any()


def test_the_strongest_positions_are_smoothed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval_bench.pooling.how.PER_IMAGE", 5)
    feature_map = draw(2, 3, 4, 4)
    found = strongest(feature_map, 3)
    expected = []
    for image, around in zip(feature_map, smoothed(feature_map, 3), strict=True):
        rows = image.flatten(1).norm(dim=0).argsort(descending=True)[:5]
        expected.append(around.flatten(1).T[rows])
    torch.testing.assert_close(found, torch.cat(expected))
    assert strongest(feature_map[:, :, :1, :2], 3).shape == (4, 3)


@torch.no_grad()
def test_a_start_whitens_the_local_descriptors() -> None:
    maps = [draw(3, 5, 6, 4) + 1, 2 * draw(2, 5, 3, 7)]
    pooling = POOLINGS.create("how", {"dim": 3}, in_channels=5)
    pooling.start_from(iter([(each,) for each in maps]), torch.Generator().manual_seed(0))
    local = torch.cat([pooling.local(each).flatten(2).mT.flatten(0, 1) for each in maps])
    torch.testing.assert_close(local.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(local.T @ local / len(local), torch.eye(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dim", [8, 20])
def test_it_starts_as_the_contract_asks(dim: int) -> None:
    (outcome,) = contracts.run("pooling", "how", {"dim": dim}, which=["starts-from-images"])
    assert (outcome.passed, outcome.reason) == (True, "starts from 5000 training images")


def test_only_a_linear_map_starts_from_images() -> None:
    assert POOLINGS.create("how", {"dim": 4}, in_channels=5).start_images == 5000
    assert POOLINGS.create("how", {}, in_channels=5).start_images == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"smoothing": 2}, "pooling.smoothing, the side of a window, must be odd"),
        ({"smoothing": -1}, "must be odd and at least 1, got -1"),
        ({"dim": 0}, "pooling.dim must be at least 1, got 0"),
    ],
    ids=str,
)
def test_options_that_mean_nothing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        POOLINGS.create("how", options, in_channels=8)
