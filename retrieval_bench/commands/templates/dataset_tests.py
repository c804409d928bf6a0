"""part_name: what every dataset passes, and what this one promises."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import retrieval_bench as rb
from retrieval_bench import contracts
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins

load_plugins([Path(__file__).with_name("part_name.py")])

TRUTH: dict[str, Any] = {
    "database": ["database/0.png", "database/1.png", "database/2.png"],
    "queries": [
        {"image": "queries/0.png", "box": [1, 2, 30, 20], "easy": ["database/0.png"], "junk": ["database/2.png"]},
        {"image": "queries/1.png", "easy": ["database/1.png"], "hard": ["database/2.png"]},
    ],
    "train": {"town hall": ["train/0.png", "train/1.png"], "bridge": ["train/2.png"]},
}


def write(root: Path, truth: dict[str, Any]) -> Path:
    """A folder with the images of `TRUTH` and a ground truth."""
    queries = [query["image"] for query in TRUTH["queries"]]
    train = [name for names in TRUTH["train"].values() for name in names]
    for number, name in enumerate([*TRUTH["database"], *queries, *train]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    (root / "ground_truth.json").write_text(json.dumps(truth))
    return root


@pytest.mark.parametrize("which", contracts.check_names("dataset"))
def test_contract(which: str, tmp_path: Path) -> None:
    """What every built-in dataset passes too."""
    contracts.check("dataset", "part_name", which, {"root": write(tmp_path, TRUTH)})


def test_names_become_rows(tmp_path: Path) -> None:
    """Queries, boxes, positives and training classes are those of the file."""
    dataset = rb.load_dataset("part_name", write(tmp_path, TRUTH))
    assert dataset.queries.boxes == [(1.0, 2.0, 30.0, 20.0), None]
    assert dataset.ground_truth[0] == {"easy": [0], "hard": [], "junk": [2]}
    assert dataset.ground_truth[1] == {"easy": [1], "hard": [2], "junk": []}
    assert dataset.train is not None
    assert list(dataset.train.classes) == ["town hall", "bridge"]
    assert list(dataset.train.labels) == [0, 0, 1]


def test_boxes_can_be_left_alone(tmp_path: Path) -> None:
    """An option of this dataset."""
    dataset = rb.load_dataset("part_name", write(tmp_path, TRUTH), crop="none")
    assert dataset.queries.boxes == [None, None]


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ({"queries": []}, "KeyError: 'database'"),
        ({**TRUTH, "database": ["database/9.png"]}, "not in its database"),
        ({**TRUTH, "train": {"tower": ["train/9.png"]}}, "train/9.png, which is not in"),
    ],
    ids=["form", "positive", "image"],
)
def test_a_wrong_ground_truth_is_refused(truth: dict[str, Any], said: str, tmp_path: Path) -> None:
    """The message says what to mend."""
    with pytest.raises(InputError, match=said):
        rb.load_dataset("part_name", write(tmp_path, truth))
