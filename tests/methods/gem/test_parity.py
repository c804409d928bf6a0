"""GeM equals cirtorch: single scale and both ways of merging scales, through the public door."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from parity_case import load
from published_file import raw_images, write

import retrieval_bench as rb

CASES = Path(__file__).parents[2] / "parity" / "gem"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("name", ["r50_gem_w", "r18_gem_nowhiten_msp", "r18_regional_gem_w"])
def test_descriptors(name, tmp_path):
    case = load(CASES / name)
    meta = {
        "architecture": case.settings["architecture"],
        "pooling": case.settings["pooling"],
        "whitening": case.settings["whitening"],
        "regional": case.settings.get("regional", False),
        "mean": list(MEAN),
        "std": list(STD),
        "Lw": {"retrieval-SfM-120k": {"ms": {"m": np.zeros((4, 1)), "P": np.eye(4)}}},
    }
    file = write(tmp_path / f"{name}.pth", case.state_dict, "state_dict", meta=meta)
    model = rb.create_model("gem", backbone=case.settings["architecture"], weights=file)
    assert list(model.unused_weights) == ["meta.Lw[retrieval-SfM-120k]"]
    for key, normalised in case.inputs.items():
        image = raw_images(normalised, MEAN, STD)
        short = key.split("/")[1]
        with torch.no_grad():
            feature_map = model.backbone(model.normalise(image))[-1]
        expected = case.outputs[f"features_channel_mean.{short}"]
        assert_allclose(feature_map.mean(1), expected, **case.tolerance)
        single = model.describe(image, scales=(1,))[0]
        assert_allclose(single, case.outputs[f"single_scale.{short}"], **case.tolerance)
        for way, (scales, exponent) in case.settings["multiscale"].items():
            merge = "power-mean" if exponent == "p" else "mean"
            other = rb.create_model("gem", weights=file, merge=merge)
            merged = other.describe(image, scales=scales)[0]
            assert_allclose(merged, case.outputs[f"multi_scale_{way}.{short}"], **case.tolerance, err_msg=way)


def test_the_protocol_follows_the_checkpoint(tmp_path):
    case = load(CASES / "r18_gem_nowhiten_msp")
    file = write(tmp_path / "gem.pth", case.state_dict, "state_dict", meta={"pooling": "gem"})
    protocol = rb.create_model("gem", weights=file).protocol
    assert protocol.merge == "power-mean"
    assert protocol.scales == pytest.approx((1, 2**-0.5, 0.5))
