"""The official layout loads; what is missing is named, with the way to get it."""

import json
import pickle

import pytest

from retrieval_bench.data.registry import load_dataset
from retrieval_bench.settings.errors import InputError


@pytest.fixture
def oxford(tmp_path, save_image):
    folder = tmp_path / "roxford5k"
    content = {
        "gnd": [{"bbx": [2.5, 3, 20, 21], "easy": [1], "hard": [0], "junk": []}],
        "imlist": ["x_2", "x_1", "y_3"],
        "qimlist": ["q_1"],
    }
    for stem in ("q_1", "x_1", "x_2", "y_3"):
        save_image(folder / "jpg" / f"{stem}.jpg")
    (folder / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(content))
    return folder


def test_lists_keep_the_order_of_the_ground_truth(oxford):
    dataset = load_dataset("roxford5k", oxford)
    assert list(dataset.queries.names) == ["q_1"]
    assert list(dataset.queries.boxes) == [(2.5, 3.0, 20.0, 21.0)]
    assert list(dataset.database.names) == ["x_2", "x_1", "y_3"]
    assert dataset.database.boxes == (None,) * 3
    assert dataset.database.paths[0] == oxford / "jpg" / "x_2.jpg"
    assert dataset.ground_truth[0]["easy"] == [1]
    assert dataset.train is None
    assert dataset.facts["ground_truth"].startswith("not the official file: sha256 ")


def test_the_folder_above_is_understood_too(oxford):
    assert load_dataset("roxford5k", oxford.parent).root == oxford


def test_the_release_is_what_was_recorded_or_stated(oxford):
    assert "not recorded" in load_dataset("roxford5k", oxford).facts["images"]
    assert load_dataset("roxford5k", oxford, release="original").facts["images"] == "original (before 2022)"
    (oxford / "prepared.json").write_text(json.dumps({"release": "v1-blurred"}))
    assert load_dataset("roxford5k", oxford).facts["images"] == "blurred faces (2022)"
    with pytest.raises(InputError, match=r"release=original .*prepared\.json says 'v1-blurred'"):
        load_dataset("roxford5k", oxford, release="original")
    (oxford / "prepared.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        load_dataset("roxford5k", oxford)


def test_an_unknown_release_names_the_nearest(oxford):
    with pytest.raises(InputError, match="did you mean 'v1-blurred'"):
        load_dataset("roxford5k", oxford, release="v1-blured")


def test_missing_files_are_named_with_the_remedy(oxford, tmp_path):
    (oxford / "jpg" / "x_1.jpg").unlink()
    (oxford / "jpg" / "y_3.jpg").unlink()
    with pytest.raises(InputError, match=r"jpg/x_1\.jpg and 1 more .*retrieval-bench data prepare roxford5k"):
        load_dataset("roxford5k", oxford)
    with pytest.raises(InputError, match=r"gnd_rparis6k\.pkl is missing; .*data prepare rparis6k"):
        load_dataset("rparis6k", tmp_path / "nothing")


def test_the_true_ground_truth_loads(shared, tmp_path):
    for name, queries, database in (("roxford5k", 70, 4993), ("rparis6k", 70, 6322)):
        file = shared("data", "revisitop", f"gnd_{name}.pkl")
        content = pickle.loads(file.read_bytes())
        (tmp_path / name / "jpg").mkdir(parents=True)
        for stem in content["imlist"] + content["qimlist"]:
            (tmp_path / name / "jpg" / f"{stem}.jpg").touch()
        (tmp_path / name / file.name).write_bytes(file.read_bytes())
        dataset = load_dataset(name, tmp_path)
        assert (len(dataset.queries), len(dataset.database)) == (queries, database)
        assert dataset.facts["ground_truth"] == "official file"
