"""CVNet-Global equals sungonce/CVNet; whole networks go through the public door."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from parity_case import ParityCase, load
from published_file import raw_images, write

import retrieval_bench as rb
from retrieval_bench.data.loading import load_for_protocol
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.pyramid import image_pyramid

CASES = Path(__file__).parents[2] / "parity" / "cvnet_global"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def published(name: str, folder: Path) -> tuple[ParityCase, RetrievalModule]:
    case = load(CASES / name)
    file = write(folder / "CVPR2022_CVNet.pyth", case.state_dict, "model_state")
    return case, rb.create_model("cvnet", backbone=f"resnet{case.settings['depth']}", weights=file)


@pytest.mark.parametrize("name", ["r50_single", "r101_single"])
def test_maps_and_descriptor(name, tmp_path):
    case, model = published(name, tmp_path)
    assert (model.unused_weights, model.absent_weights) == ({}, ())
    assert model.descriptor_dim == case.outputs["descriptor"].shape[1]
    given = case.inputs[case.settings["input"]]
    with torch.no_grad():
        # As it is: the way to [0, 1] and back costs the last bits of an input of this size.
        third, fourth = model.backbone(torch.from_numpy(given))
        pooled = model.pooling(fourth)
        embedded = model.embed(torch.from_numpy(given))
    assert_allclose(third.mean(1), case.outputs["s3_channel_mean"], **case.tolerance)
    assert_allclose(fourth.mean(1), case.outputs["s4_channel_mean"], **case.tolerance)
    assert_allclose(fourth[:, :64], case.outputs["s4_first_64_channels"], **case.tolerance)
    assert_allclose(pooled, case.outputs["pooled"], **case.tolerance)
    # Its direction is the descriptor's, below; single values cancel to nearly zero beside others of size 20.
    assert_allclose(embedded.norm(dim=1), np.linalg.norm(case.outputs["fc_output"], axis=1), **case.tolerance)
    images = raw_images(given[:, ::-1].copy(), MEAN, STD)
    assert_allclose(model.describe(images, scales=(1.0,)), case.outputs["descriptor"], **case.tolerance)


@pytest.fixture(scope="module")
def multiscale(tmp_path_factory):
    """The case, the model, and the images as files with their query boxes."""
    folder = tmp_path_factory.mktemp("multiscale")
    case, model = published("r50_multiscale", folder)
    boxes = [*case.settings["query_bbx"], *(None for _ in case.settings["db_images"])]
    files = []
    for name in (*case.settings["query_images"], *case.settings["db_images"]):
        files.append(folder / f"{Path(name).name}.png")
        assert cv2.imwrite(str(files[-1]), case.inputs[name]), "inputs are BGR, as cv2 writes them"
    return case, model, files, boxes


def test_image_files_at_three_scales_with_cropped_queries(multiscale):
    case, model, files, boxes = multiscale
    assert_allclose(model.protocol.scales, case.settings["scales"])
    found = np.asarray(rb.extract(model, files, boxes=boxes))
    queries, database = np.split(found, [len(case.settings["query_images"])])
    assert_allclose(queries, case.outputs["query_descriptors"], **case.tolerance)
    assert_allclose(database, case.outputs["db_descriptors"], **case.tolerance)
    assert_allclose(database @ queries.T, case.outputs["similarity"], **case.tolerance)


@pytest.mark.parametrize("image", ["query0", "db0"])
def test_what_the_network_is_given(multiscale, image):
    """Shape, values and colour order at each scale."""
    case, model, files, boxes = multiscale
    place = [file.stem for file in files].index(image)
    pixels = load_for_protocol(files[place], boxes[place] and tuple(boxes[place]), model.protocol)
    images = model.checked(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])
    for scale, level in image_pyramid(images, model.protocol.scales, model.protocol):
        given = model.normalise(level)[0]
        expected = {key: case.outputs[f"{image}_scale{scale}_{key}"] for key in ("shape", "corner", "channel_mean")}
        assert list(given.shape) == expected["shape"].tolist()
        assert_allclose(given[:, :12, :12], expected["corner"], **case.tolerance)
        assert_allclose(given.mean(dim=(1, 2)), expected["channel_mean"], **case.tolerance)
