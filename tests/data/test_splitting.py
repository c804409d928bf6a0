"""The held-out share is the published split, and never takes a class's last image."""

import sys
from pathlib import Path

import numpy as np
import pytest

from retrieval_bench.data.splitting import split_per_class
from retrieval_bench.settings.errors import InputError

PARITY = Path(__file__).parents[1] / "parity"


def test_equal_to_spca():
    sys.path.insert(0, str(PARITY))
    try:
        from parity_case import load
    finally:
        sys.path.remove(str(PARITY))
    case = load(PARITY / "spca" / "split")
    labels = case.inputs[case.settings["label"]].astype(int)
    for config in case.settings["configs"]:
        train, validation = split_per_class(labels.tolist(), config["split"], config["seed"])
        name = config["name"]
        np.testing.assert_array_equal(train, case.outputs[f"train.{name}"])
        np.testing.assert_array_equal(validation, case.outputs[f"val.{name}"])


def test_every_row_is_on_one_side():
    labels = np.random.default_rng(0).integers(0, 9, 100).tolist()
    train, validation = split_per_class(labels, 0.8, 0)
    assert sorted(train + validation) == list(range(100))
    for label in set(labels):
        count = labels.count(label)
        assert sum(labels[row] == label for row in validation) == max(1, int(np.float32(0.2) * np.float32(count)))


def test_small_classes_stay_whole():
    labels = [0] * 3 + [1] * 4 + [2]
    train, validation = split_per_class(labels, 0.95, 0, minimum=4)
    assert [labels[row] for row in validation] == [1]
    assert len(train) == 7
    _, validation = split_per_class([5, 7, 7], 0.5, 0)
    assert len(validation) == 1


def test_seeds_differ_and_repeat():
    labels = [0] * 50
    assert split_per_class(labels, 0.8, 1) == split_per_class(labels, 0.8, 1)
    assert split_per_class(labels, 0.8, 1) != split_per_class(labels, 0.8, 2)


def test_nothing_held_out():
    assert split_per_class([3, 1, 2], 1, 0) == ([0, 1, 2], [])


@pytest.mark.parametrize("share", [-0.1, 1.1, 8])
def test_a_share_outside_0_1_is_an_error(share):
    with pytest.raises(InputError, match=r"0\.\.1"):
        split_per_class([0, 0], share, 0)
