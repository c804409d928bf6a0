import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd

from retrieval_bench.reporting.plots import ap_distributions, training_curves


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "global/ap_easy": [0.0, 0.55, 1.0],
            "reranked/ap_easy": [0.15, 0.95, 1.0],
            "global/ap_hard": [np.nan] * 3,
            "reranked/ap_hard": [np.nan] * 3,
        }
    )


def test_levels_without_ap_are_left_out():
    assert list(ap_distributions(table(), ["global", "reranked"], ["easy", "medium", "hard"])) == ["easy"]


def test_the_description_counts_the_queries():
    svg = ap_distributions(table(), ["global", "reranked"], ["easy"])["easy"]
    label = ElementTree.fromstring(svg).attrib["aria-label"]
    assert "before re-ranking: 1, 0, 0, 0, 0, 1, 0, 0, 0, 1" in label
    assert "after re-ranking: 0, 1, 0, 0, 0, 0, 0, 0, 0, 2" in label


def test_a_single_stage_is_drawn():
    svg = ap_distributions(table(), ["global"], ["easy"])["easy"]
    assert "after re-ranking" not in svg


def test_plots_are_well_formed_with_ids_of_their_own_and_the_same_each_time():
    stages, levels = ["global", "reranked"], ["easy", "hard"]
    frame = table().fillna(0.3)
    plots = ap_distributions(frame, stages, levels)
    ids = [
        {node.attrib["id"] for node in ElementTree.fromstring(svg).iter() if "id" in node.attrib}
        for svg in plots.values()
    ]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert "http" not in "".join(plots.values())
    assert plots == ap_distributions(frame, stages, levels)


def test_bars_differ_without_colour():
    svg = ap_distributions(table(), ["global", "reranked"], ["easy"])["easy"]
    assert "<pattern" in svg
    root = ElementTree.fromstring(svg)
    patterns = {node.attrib["id"] for node in root.iter() if node.tag == "pattern"}
    assert any(f"url(#{pattern})" in svg for pattern in patterns)


def test_training_curves_are_grouped_by_what_they_measure():
    rows = [{"epoch": e, "train/loss": 1.0, "val/loss": 2.0, "lr": 0.1, "val/mAP": 0.5, "norm": 3.0} for e in range(3)]
    curves = training_curves(rows)
    assert list(curves) == ["loss", "mAP (%)", "learning rate", "norm"]
    assert "last: val/mAP 50" in curves["mAP (%)"]
    assert "train/loss 1, val/loss 2" in curves["loss"]


def test_training_and_validation_of_one_figure_share_a_panel():
    curves = training_curves([{"epoch": 1, "train/contrast": 1.0, "validation/contrast": 2.0, "train/classes": 3.0}])
    assert list(curves) == ["classes", "contrast"]
    assert "train/contrast 1, validation/contrast 2" in curves["contrast"]


def test_a_single_epoch_is_a_whole_number_on_its_axis():
    (curve,) = training_curves([{"epoch": 1, "loss": 2.0}]).values()
    # Text stands in the order in which it is drawn: ticks of the epochs come first.
    assert re.findall(r">([^<>]+)</text>", curve)[:2] == ["1", "epoch"]


def test_an_epoch_may_lack_a_figure():
    curves = training_curves([{"loss": 1.0}, {"loss": 0.5, "map": 0.2}])
    assert set(curves) == {"loss", "mAP (%)"}
    assert training_curves([]) == {}
