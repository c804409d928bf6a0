"""SENet equals sungonce/SENet; whole networks go through the public door."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from parity_case import ParityCase, load
from published_file import raw_images, write

import retrieval_bench as rb
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.pooling.senet.self_similarity import self_similarity

CASES = Path(__file__).parents[2] / "parity" / "senet"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def published(name: str, folder: Path) -> tuple[ParityCase, RetrievalModule]:
    case = load(CASES / name)
    file = write(folder / "senet.pyth", case.state_dict, "model_state")
    return case, rb.create_model("senet", backbone=f"resnet{case.settings['depth']}", weights=file)


@pytest.mark.parametrize("name", ["r50_single", "r101_single"])
def test_forward(name, tmp_path):
    case, model = published(name, tmp_path)
    for key in ("mid_dim", "unfold_size", "kernel_size"):
        assert model.settings[key] == case.settings[key]
    assert model.unused_weights == {}
    assert model.absent_weights == ()
    assert model.pooling.p.item() == case.settings["gem_p"]

    images = raw_images(case.inputs[case.settings["input"]][:, ::-1].copy(), MEAN, STD)
    out, structure = case.outputs, model.structure
    with torch.no_grad():
        normalised = model.normalise(images)
        feature_map = model.backbone(normalised)[-1]
        reduced = structure.reduce(feature_map)
        similarity = self_similarity(torch.nn.functional.normalize(reduced, dim=1), structure.unfold_size)
        encoded = structure.encoded(reduced)
        expanded = structure.expand_norm(structure.expand(encoded))
        enriched = structure(feature_map)
        pooled = model.pooling(enriched)
        embedded = model.embed(normalised)
    found = {
        "s4_channel_mean": feature_map.mean(dim=1),
        "reduced_first_16": reduced[:, :16],
        "self_similarity_channel_sum": similarity.sum(dim=3),
        "conv_in_mean_over_hw": encoded.mean(dim=(2, 3)),
        "sse_channel_mean": expanded.mean(dim=1),
        "sse_first_16": expanded[:, :16],
        "ssm_channel_mean": enriched.mean(dim=1),
        "ssm_first_16": enriched[:, :16],
        "pooled": pooled,
        "fc_output": embedded,
    }
    assert similarity.permute(0, 3, 1, 2, 4, 5).shape == tuple(out["self_similarity_shape"])
    for key, values in found.items():
        # In units of their mean size, as a descriptor is: values of up to 50 cancel to nearly zero in the float32 of
        # the published code, whose last digits then differ by more than atol even from exact arithmetic.
        size = np.abs(out[key]).mean()
        assert_allclose(values / size, out[key] / size, **case.tolerance, err_msg=key)
    assert_allclose(model.describe(images, scales=(1.0,)), out["descriptor"], **case.tolerance)


def test_image_files_at_three_scales_with_a_cropped_query(tmp_path):
    case, model = published("r50_multiscale", tmp_path)
    assert_allclose(model.protocol.scales, case.settings["scales"])
    files, boxes = [], []
    for names, box_of in (("query_images", case.settings["query_bbx"]), ("db_images", [None, None])):
        for name, box in zip(case.settings[names], box_of, strict=True):
            files.append(tmp_path / f"{Path(name).name}.png")
            assert cv2.imwrite(str(files[-1]), case.inputs[name]), "inputs are BGR, as cv2 writes them"
            boxes.append(box)
    found = rb.extract(model, files, boxes=boxes)
    expected = np.concatenate([case.outputs["query_descriptors"], case.outputs["db_descriptors"]])
    assert_allclose(found, expected, **case.tolerance)
