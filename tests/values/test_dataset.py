"""Datasets that do not fit together are refused, with the offending value and what to do."""

from pathlib import Path

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset


def images(count: int, prefix: str = "d") -> ImageList:
    names = [f"{prefix}{row}" for row in range(count)]
    return ImageList(names, [Path(f"{name}.jpg") for name in names])


def dataset(**changes):
    given = {
        "name": "mine",
        "root": Path("mine"),
        "queries": images(2, "q"),
        "database": images(3),
        "ground_truth": [{"easy": [0], "hard": [2], "junk": []}, {"easy": [1]}],
    }
    return RetrievalDataset(**(given | changes))


def test_boxes_default_to_whole_images():
    assert list(images(3).boxes) == [None, None, None]
    assert len(images(3)) == 3


def test_a_list_of_no_images():
    assert len(images(0)) == 0


@pytest.mark.parametrize(
    ("paths", "boxes", "said"),
    [(2, (), "3 names, 2 paths and 3 boxes"), (3, ((0, 0, 1, 1),), "3 names, 3 paths and 1 boxes")],
)
def test_lists_of_different_length(paths, boxes, said):
    with pytest.raises(InputError, match=f"{said}; they must be as many"):
        ImageList(["a", "b", "c"], [Path("x")] * paths, boxes)


def test_a_name_that_occurs_twice_is_named():
    with pytest.raises(InputError, match=r"the image name 'b' occurs twice.*must be unique"):
        ImageList(["a", "b", "b"], [Path("x")] * 3)


def test_labels_for_every_image():
    assert len(LabelledImages([Path("a"), Path("b")], [0, 1], ["x", "y"])) == 2
    with pytest.raises(InputError, match="2 training images but 1 labels; they must be as many"):
        LabelledImages([Path("a"), Path("b")], [0], ["x"])


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_without_a_class_is_refused(label):
    with pytest.raises(InputError, match=str(label)):
        LabelledImages([Path("a"), Path("b")], [0, label], ["x", "y"])


def test_a_whole_dataset():
    assert dataset(query_groups=("near", "far")).query_groups == ("near", "far")


def test_an_entry_per_query():
    with pytest.raises(InputError, match="dataset 'mine': the ground truth has 1 entries for 2 queries"):
        dataset(ground_truth=[{"easy": [0]}])


def test_a_group_per_query():
    with pytest.raises(InputError, match="'mine': 1 query groups for 2 queries; give each query one, or none at all"):
        dataset(query_groups=("near",))


def test_an_empty_database():
    with pytest.raises(InputError, match="'mine': the database is empty; give it at least one image"):
        dataset(database=images(0), ground_truth=[{}, {}])


@pytest.mark.parametrize("level", ["easy", "hard", "junk"])
@pytest.mark.parametrize("row", [3, -1])
def test_a_row_outside_the_database(level, row):
    with pytest.raises(InputError, match=f"query 'q1' lists database row {row} as {level}.*has 3 images"):
        dataset(ground_truth=[{"easy": [0]}, {"easy": [1], level: [2, row]}])
