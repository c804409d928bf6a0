"""The tiny dataset: format, disjointness, verification."""

import json

import cv2
import pytest

from retrieval_bench.data.registry import DATASETS, load_dataset
from retrieval_bench.data.synthetic.contact_sheet import write_contact_sheet
from retrieval_bench.data.synthetic.dataset import load
from retrieval_bench.data.synthetic.plan import Options
from retrieval_bench.settings.errors import InputError

TINY = {
    "train_landmarks": 3,
    "train_images_per_landmark": 2,
    "validation_landmarks": 2,
    "validation_images_per_landmark": 2,
    "test_landmarks": 5,
    "queries_per_landmark": 1,
    "database_images_per_landmark": 5,
    "lookalikes": 1,
    "images_per_lookalike": 2,
    "distractors": 5,
    "image_size": 96,
    "workers": 1,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture(scope="module")
def dataset(root):
    return load_dataset("synthetic", root=root, **TINY)


@pytest.fixture
def copy(dataset, tmp_path):
    folder = tmp_path / dataset.root.name
    for path in dataset.root.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(dataset.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder


def test_counts(dataset):
    assert len(dataset.queries) == 5
    assert len(dataset.database) == 5 * 5 + 2 + 5
    assert len(dataset.train) == 6
    assert len(dataset.validation) == 4
    assert sorted(set(dataset.train.labels)) == [0, 1, 2]


def test_options_default_to_those_of_the_plan():
    given = DATASETS.options("synthetic")
    for name, value in vars(Options()).items():
        assert given[name].default == value


def test_gnd_has_the_revisited_structure(dataset):
    truth = json.loads((dataset.root / "gnd.json").read_text())
    assert set(truth) == {"gnd", "imlist", "qimlist"}
    assert len(truth["gnd"]) == len(truth["qimlist"])
    assert not set(truth["imlist"]) & set(truth["qimlist"])
    for entry in truth["gnd"]:
        assert set(entry) == {"bbx", "easy", "hard", "junk"}
        rows = entry["easy"] + entry["hard"] + entry["junk"]
        assert len(rows) == len(set(rows))
        assert all(0 <= row < len(truth["imlist"]) for row in rows)


def test_positives_show_the_query_landmark_and_nothing_else_does(dataset):
    views = {record["name"]: record for record in json.loads((dataset.root / "views.json").read_text())}
    for query, entry in zip(dataset.queries.names, dataset.ground_truth, strict=True):
        landmark = views[query]["view"]["landmark"]
        related = {row for level in ("easy", "hard", "junk") for row in entry[level]}
        for row, name in enumerate(dataset.database.names):
            shows = views[name]["view"]["landmark"] == landmark and views[name]["view"]["share"] > 0
            assert (row in related) == shows
    assert sum(len(entry["easy"]) + len(entry["hard"]) for entry in dataset.ground_truth) > 10


def test_boxes_lie_in_their_images(dataset):
    for path, (x0, y0, x1, y1) in zip(dataset.queries.paths, dataset.queries.boxes, strict=True):
        height, width = cv2.imread(str(path)).shape[:2]
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


def test_splits_are_disjoint(dataset):
    views = json.loads((dataset.root / "views.json").read_text())
    landmarks = {}
    for record in views:
        if record["view"]["landmark"]:
            split = "test" if record["role"] in ("query", "database") else record["role"]
            landmarks.setdefault(split, set()).add(record["view"]["landmark"])
    assert not landmarks["train"] & landmarks["validation"]
    assert not (landmarks["train"] | landmarks["validation"]) & landmarks["test"]
    files = [set(split.paths) for split in (dataset.train, dataset.validation, dataset.queries, dataset.database)]
    assert len(set.union(*files)) == sum(map(len, files))


def test_facts_name_seed_labels_and_limits(dataset):
    assert "seed 0" in dataset.facts["images"]
    assert "does not replace" in dataset.facts["limits"]
    assert len(dataset.facts["images sha256"]) == 64


@pytest.mark.parametrize("name", ["jpg/train_001_00.jpg", "gnd.json", "views.json"])
def test_a_damaged_file_is_named(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(bytes(data))
    with pytest.raises(InputError, match=rf"{name} is damaged.*delete the folder .*rebuilt"):
        load(copy)


def test_a_missing_file_is_named(copy):
    (copy / "jpg" / "query_000_00.jpg").unlink()
    with pytest.raises(InputError, match=r"query_000_00\.jpg is missing; delete the folder"):
        load(copy)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"sha256": {}}'])
def test_a_broken_manifest_is_named(copy, text):
    (copy / "manifest.json").unlink()
    if text is not None:
        (copy / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json is missing or damaged"):
        load(copy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 8}, "image_size=8 must be a whole number from 64 up"),
        ({"test_landmarks": 0}, "test_landmarks=0"),
        ({"seed": -1}, "seed=-1"),
        ({"distractors": 1.5}, "distractors=1.5"),
        ({"workers": 0}, "workers=0"),
        ({"lookalikes": 6}, "lookalikes=6"),
        ({"seeds": 1}, "unknown option of dataset 'synthetic' 'seeds'; did you mean 'seed'"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        load_dataset("synthetic", root=tmp_path, **{**TINY, **options})
    assert not list(tmp_path.iterdir())


def test_without_training_images(root, tmp_path):
    dataset = load_dataset(
        "synthetic", root=tmp_path, **{**TINY, "train_landmarks": 0, "validation_landmarks": 0, "test_landmarks": 1}
    )
    assert dataset.train is None
    assert dataset.validation is None


def test_contact_sheet(dataset, tmp_path):
    path = tmp_path / "sheets" / "sheet.png"
    write_contact_sheet(dataset, path, queries=2, each=2, side=64)
    assert cv2.imread(str(path)).shape == (2 * 64, 9 * 64, 3)
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]
