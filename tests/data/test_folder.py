"""A user's own images become lists and ground truth."""

import pytest

from retrieval_bench.data.registry import load_dataset
from retrieval_bench.settings.errors import InputError


@pytest.fixture
def own(tmp_path, save_image):
    """Write images and a table; return the loader of the result."""

    def make(text, names=None, **options):
        rows = [line.split(",")[0] for line in text.splitlines()[1:]]
        for number, name in enumerate(names if names is not None else dict.fromkeys(rows)):
            save_image(tmp_path / "pictures" / name, seed=number)
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        return load_dataset("folder", tmp_path, **{"csv": "t.csv", "images": "pictures"} | options)

    return make


def test_leave_one_out(own):
    dataset = own("image,label\na.png,x\nb.png,distractor\nc.png,x\nd.png,y\ne.png,x\nf.png,distractor\n")
    assert list(dataset.database.names) == ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"]
    assert list(dataset.queries.names) == ["a.png", "c.png", "e.png"]
    assert dataset.ground_truth == [
        {"easy": [2, 4], "hard": [], "junk": [0]},
        {"easy": [0, 4], "hard": [], "junk": [2]},
        {"easy": [0, 2], "hard": [], "junk": [4]},
    ]
    assert dataset.train is None
    assert dataset.query_groups == ()
    assert dataset.facts["distractors"] == "2"
    assert "leave-one-out" in dataset.facts["split rule"]


def test_splits_and_boxes(own):
    text = (
        "image,label,split,x0,y0,x1,y1\n"
        "q.png,x,query,1,2,20,21\n"
        "d1.png,x,database,,,,\n"
        "d2.png,y,database,0,0,9,9\n"
        "t1.png,y,test,3,3,8,8\n"
        "t2.png,z,test,,,,\n"
        "tr1.png,b,train,,,,\n"
        "tr2.png,a,train,,,,\n"
        "tr3.png,b,train,,,,\n"
        "v.png,b,validation,,,,\n"
    )
    dataset = own(text)
    assert list(dataset.queries.names) == ["q.png", "t1.png"]
    assert list(dataset.queries.boxes) == [(1, 2, 20, 21), (3, 3, 8, 8)]
    assert list(dataset.database.names) == ["d1.png", "d2.png", "t1.png", "t2.png"]
    assert list(dataset.database.boxes) == [None, (0, 0, 9, 9), None, None]
    assert dataset.ground_truth == [
        {"easy": [0], "hard": [], "junk": []},
        {"easy": [1], "hard": [], "junk": [2]},
    ]
    assert list(dataset.train.classes) == ["a", "b"]
    assert list(dataset.train.labels) == [1, 0, 1]
    assert list(dataset.validation.classes) == ["a", "b"]
    assert list(dataset.validation.labels) == [1]
    assert "train/test overlap" not in dataset.facts


def test_validation_of_other_classes_keeps_them(own):
    text = "image,label,split\na.png,x,\nb.png,x,\nc.png,l,train\nd.png,m,validation\ne.png,m,validation\n"
    assert list(own(text).validation.classes) == ["m"]


def test_shared_labels_of_training_and_test_are_told(own):
    dataset = own("image,label,split\na.png,x,test\nb.png,x,test\nc.png,x,train\n")
    assert dataset.facts["train/test overlap"].startswith("1 labels")


def test_a_query_that_is_in_the_database_leaves_its_own_ranking(own):
    dataset = own("image,label,split\na.png,x,query\na.png,x,database\nb.png,x,database\n")
    assert dataset.ground_truth == [{"easy": [1], "hard": [], "junk": [0]}]


def test_groups_of_queries(own):
    dataset = own("image,label,kind\na.png,x,far\nb.png,x,near\nc.png,distractor,\n", group_column="kind")
    assert list(dataset.query_groups) == ["far", "near"]


def test_difficult_names(own, tmp_path):
    names = [
        "name with spaces.png",
        "unicode_café_建物.png",
        "UPPER.PNG",
        "two.dots.png",
        "-leading-dash.png",
        "x.jpg.png",
    ]
    dataset = own("image,label\n" + "".join(f"{name},x\n" for name in names))
    assert list(dataset.database.names) == names
    assert all(path.is_file() for path in dataset.database.paths)


def test_one_folder_per_label(tmp_path, save_image):
    for number, name in enumerate(("x/1.png", "x/deep/1.png", "y/1.PNG", "y/1.jpg", "distractor/9.jpeg", "z/0.png")):
        save_image(tmp_path / name, seed=number)
    (tmp_path / "x" / "loop").symlink_to(tmp_path)
    (tmp_path / "x" / "folder.jpg").mkdir()
    dataset = load_dataset("folder", tmp_path)
    assert list(dataset.database.names) == [
        "distractor/9.jpeg",
        "x/1.png",
        "x/deep/1.png",
        "y/1.PNG",
        "y/1.jpg",
        "z/0.png",
    ]
    assert list(dataset.queries.names) == ["x/1.png", "x/deep/1.png", "y/1.PNG", "y/1.jpg"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,label\na.png,x\nb.png,y\n", "at least one label needs two images"),
        ("image,label\na.png,distractor\nb.png,distractor\n", "at least one label needs two images"),
        ("image,label,split\na.png,distractor,query\nb.png,x,database\n", "a.png is a query"),
        ("image,label,split\na.png,x,query\n", "at least one label"),
        ("image,label\na.png,x\na.png,x\n", "'a.png' occurs twice"),
    ],
)
def test_lists_without_a_meaning_are_input_errors(own, text, says):
    with pytest.raises(InputError) as caught:
        own(text)
    assert says in str(caught.value)


def test_missing_images_are_named_and_counted(own, tmp_path):
    with pytest.raises(InputError, match=r"pictures/b\.png does not exist \(2 of 3 images are missing\)"):
        own("image,label\na.png,x\nb.png,x\nc.png,x\n", names=["a.png"])
    (tmp_path / "pictures" / "b.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "pictures" / "c.png").mkdir()
    with pytest.raises(InputError, match=r"b\.png does not exist \(2 of 3"):
        own("image,label\na.png,x\nb.png,x\nc.png,x\n", names=[])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"group_column": "kind"}, "need csv="),
        ({"csv": "t.csv", "group_csv": "g.csv"}, "needs group_column="),
        ({"csv": "t.csv", "box_columns": ("x", "y")}, "2 columns; it needs four"),
        ({"label": "x"}, "did you mean 'label_column'"),
    ],
)
def test_options_that_do_not_fit_are_input_errors(tmp_path, options, says):
    with pytest.raises(InputError) as caught:
        load_dataset("folder", tmp_path, **options)
    assert says in str(caught.value)


def test_folders_without_labels_are_input_errors(tmp_path, save_image):
    with pytest.raises(InputError, match="is not a folder"):
        load_dataset("folder", tmp_path / "none")
    with pytest.raises(InputError, match="one folder per label"):
        load_dataset("folder", tmp_path)
    save_image(tmp_path / "x" / "1.png")
    save_image(tmp_path / "stray.png")
    with pytest.raises(InputError, match=r"stray\.png lies in no label's folder"):
        load_dataset("folder", tmp_path)


def test_the_real_photographs(shared):
    dataset = load_dataset(
        "folder",
        shared("data", "real_landmarks"),
        csv="labels.csv",
        images="images",
        label_column="landmark",
        group_csv="landmarks.csv",
        group_column="kind",
    )
    assert (len(dataset.queries), len(dataset.database)) == (116, 229)
    kinds = list(dataset.query_groups)
    assert (kinds.count("multi_photographer"), kinds.count("single_session")) == (40, 76)
