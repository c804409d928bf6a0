"""Datasets that are wrong in one way fail the check of that way, with a reason that says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retrieval_bench import contracts
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.dataset import Box, ImageList, LabelledImages, RetrievalDataset

NAMES = ("query", "same", "other", "train")


@pytest.fixture
def root(tmp_path):
    """Four pictures of 40 x 30."""
    for number, name in enumerate(NAMES):
        pixels = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def right(root: Path, **changed: Any) -> RetrievalDataset:
    """One query, two database images and one training image."""
    if not (root / "query.png").is_file():
        raise InputError(f"{root} has no query.png; give another root")
    box: Box = changed.get("box", (2.0, 3.0, 30.0, 20.0))
    database = changed.get("database", ["same", "other"])
    train = changed.get("train", "train")
    return RetrievalDataset(
        name=changed.get("name", "made_for_test"),
        root=root,
        queries=ImageList(["query"], [root / "query.png"], [box]),
        database=ImageList(database, [root / f"{name}.png" for name in database]),
        ground_truth=[changed.get("truth", {"easy": [0], "hard": [], "junk": []})],
        train=LabelledImages([root / f"{train}.png"], [0], changed.get("classes", ["tower"])),
        facts=changed.get("facts", {"images": "noise"}),
    )


def shuffled(root: Path) -> RetrievalDataset:
    names = ["same", "other"]
    shuffled.calls = getattr(shuffled, "calls", 0) + 1
    return right(
        root, database=names if shuffled.calls % 2 else names[::-1], truth={"easy": [0, 1], "hard": [], "junk": []}
    )


def careless(root: Path) -> RetrievalDataset:
    (root / "query.png").read_bytes()
    return right(root)


def swallowed(root: Path, **options: int) -> RetrievalDataset:
    return right(root)


def making(**changed: Any) -> Callable[..., RetrievalDataset]:
    return lambda root: right(root, **changed)


WRONG = [
    ("builds", making(name="another"), "it calls itself 'another', but is registered as 'made_for_test'"),
    ("missing-files", careless, "an empty folder raised FileNotFoundError"),
    ("image-lists", making(database=["same", "lost"]), "lost.png does not exist (1 of 2 files)"),
    ("boxes", making(box=(30.0, 10.0, 10.0, 20.0)), "is empty; it is x0, y0, x1, y1, not x, y, width, height"),
    ("boxes", making(box=(300.0, 10.0, 310.0, 20.0)), "lies outside the image, 40 x 30"),
    ("ground-truth", making(truth={"easy": [0], "hard": [0], "junk": []}), "lists database row 0 twice"),
    ("ground-truth", making(truth={"easy": [0], "hard": []}), "has no junk; an empty list will do"),
    ("ground-truth", making(truth={"easy": [], "hard": [], "junk": [1]}), "no query has a positive"),
    (
        "no-leaks",
        making(database=["query", "other"]),
        "has its own file as a positive (database row 0); list it as junk",
    ),
    ("no-leaks", making(train="same"), "1 training images are in the test, such as same.png"),
    ("labels", making(classes=["tower", "bridge"]), "1 training classes have no image, such as [1]"),
    ("same-twice", shuffled, "database have another order when it is loaded again"),
    ("facts", making(facts={"seed": 3}), "facts ['seed'] are no strings"),
    ("options", swallowed, "so that a typo in an option goes unnoticed"),
]


@pytest.fixture
def checked(register, root):
    def run(make: Callable[..., RetrievalDataset], **options: Any) -> dict[str, str]:
        make.__name__, make.__doc__ = "made", "Four pictures."
        name = register("dataset", make)
        return {one.check: one.reason for one in contracts.run("dataset", name, options) if not one.passed}

    return lambda make: run(make, root=str(root))


def test_the_one_they_derive_from_is_right(checked):
    assert checked(making()) == {}


@pytest.mark.parametrize(
    ("check", "make", "reason"), WRONG, ids=[f"{check}-{n}" for n, (check, *_) in enumerate(WRONG)]
)
def test_it_fails_the_right_check_for_the_right_reason(check, make, reason, checked):
    found = checked(make)
    assert found.keys() == {check}
    assert reason in found[check]


def test_a_file_that_is_no_image(checked, root):
    (root / "other.png").write_bytes(b"nothing")
    assert "other.png" in checked(making())["image-lists"]


def test_without_its_files_it_is_left_out_with_the_reason(register):
    make = making()
    make.__name__, make.__doc__ = "made", "Four pictures."
    outcomes = contracts.run("dataset", register("dataset", make))
    left_out = {one.check: one.reason for one in outcomes if one.skipped}
    assert {"builds", "image-lists", "ground-truth"} <= left_out.keys()
    assert "cannot be checked without its files" in left_out["boxes"]
    assert "give root=FOLDER" in left_out["boxes"]
    assert all(one.passed for one in outcomes)


def test_a_root_that_is_wrong_is_an_input_error(register, tmp_path):
    make = making()
    make.__name__, make.__doc__ = "made", "Four pictures."
    with pytest.raises(InputError, match=r"has no query\.png"):
        contracts.run("dataset", register("dataset", make), {"root": tmp_path / "nowhere"})
