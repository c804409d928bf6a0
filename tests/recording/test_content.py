"""What settings only name is known by what it holds: weight files, other files of options, the user's own dataset."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrieval_bench.data.registry import load_dataset
from retrieval_bench.recording import content
from retrieval_bench.recording.content import (
    Content,
    content_of,
    dataset_digest,
    file_digests,
    require_unchanged,
    stated_dataset_digest,
)
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.loading import layered


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_setting_that_names_a_file_is_found(tmp_path):
    names = ("whole", "backbone", "white", "centres", "first", "second", "matcher")
    files = {name: str(written(tmp_path / f"{name}.pth", name)) for name in names}
    settings = layered(
        {
            "weights": files["whole"],
            "backbone": {"name": "resnet10t", "weights": files["backbone"]},
            "pooling": {"name": "mine", "files": {"centres": files["centres"]}},
            "loss": {"name": "mine", "parts": [files["first"], files["second"]]},
            "rerank": {"name": "mine", "weights": files["matcher"]},
            "whitening": {"kind": "file", "path": files["white"]},
        }
    )
    assert file_digests(settings) == {
        "weights": sha("whole"),
        "backbone.weights": sha("backbone"),
        "whitening.path": sha("white"),
        "pooling.files.centres": sha("centres"),
        "loss.parts.0": sha("first"),
        "loss.parts.1": sha("second"),
        "rerank.weights": sha("matcher"),
    }


@pytest.mark.parametrize("text", ["mean", "", "~nobody_of_that_name/x", "x" * 5000, "a\0b", "."])
def test_options_that_name_no_file_are_left_alone(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert file_digests(layered({"pooling": {"name": "mine", "kind": text}, "weights": "absent.pth"})) == {}


def test_the_home_of_the_user_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "w.pth", "one")
    assert file_digests(layered({"backbone": {"name": "resnet10t", "weights": "~/w.pth"}})) == {
        "backbone.weights": sha("one")
    }


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    read = []
    real = hashlib.file_digest
    monkeypatch.setattr(content.hashlib, "file_digest", lambda *given: read.append(given) or real(*given))
    file = written(tmp_path / "w.pth", "one")
    settings = [layered({"weights": str(file), "seed": seed}) for seed in range(3)]
    assert {file_digests(one)["weights"] for one in settings} == {sha("one")}
    assert len(read) == 1
    written(file, "two")
    os.utime(file, ns=(0, 0))
    assert file_digests(settings[0]) == {"weights": sha("two")}
    assert len(read) == 2


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refused(path, *state):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(content, "_content_digest", refused)
    with pytest.raises(InputError, match=r"w\.pth cannot be read \(Permission denied\)"):
        file_digests(layered({"weights": str(written(tmp_path / "w.pth", "one"))}))


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path):
    whole, part = written(tmp_path / "a.pth", "one"), written(tmp_path / "b.pth", "one")
    settings = layered({"weights": str(whole), "whitening": {"kind": "file", "path": str(part)}})
    before = content_of(settings)
    require_unchanged(settings, before)
    part.unlink()
    require_unchanged(settings, before, "weights")
    for only in (None, "whitening.path"):
        with pytest.raises(InputError, match=r"the file of whitening\.path= was changed"):
            require_unchanged(settings, before, only)


@pytest.fixture
def pictures(tmp_path):
    """Two labels with two images each, and a table of them."""
    for label in ("bridge", "tower"):
        for number in range(2):
            draw(tmp_path / "pictures" / label / f"{number}.png", number)
    written(tmp_path / "pictures" / "labels.csv", TABLE)
    return tmp_path / "pictures"


TABLE = "image,label,kind\nbridge/0.png,b,x\nbridge/1.png,b,x\ntower/0.png,t,x\ntower/1.png,t,x\n"


def draw(path: Path, seed: int, width: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (8, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def of_folder(root: Path, **options) -> str | None:
    return stated_dataset_digest(layered({"dataset": {"name": "folder", "root": str(root), **options}}))


def test_a_table_that_changed_under_the_same_path_is_another_dataset(pictures):
    options = {"csv": "labels.csv", "group_column": "kind"}
    seen = {of_folder(pictures, **options)}
    for old, new in (
        ("tower/1.png,t", "tower/1.png,b"),  # a label
        ("tower/1.png,t,x\n", ""),  # a row less
        ("bridge/0.png,b,x\nbridge/1.png,b,x", "bridge/1.png,b,x\nbridge/0.png,b,x"),  # another order
        ("tower/1.png,t,x", "tower/1.png,t,y"),  # a group
    ):
        written(pictures / "labels.csv", TABLE.replace(old, new))
        seen.add(of_folder(pictures, **options))
    assert len(seen) == 5
    assert None not in seen


def test_splits_and_boxes_count(pictures):
    header = "image,label,split,x0,y0,x1,y1\n"
    rows = (
        "bridge/0.png,b,{split},{box}\nbridge/1.png,b,database,,,,\ntower/0.png,t,train,,,,\ntower/1.png,t,train,,,,\n"
    )
    seen = set()
    for split, box in (("query", ",,,"), ("query", "0,0,4,4"), ("test", ",,,")):
        written(pictures / "labels.csv", header + rows.format(split=split, box=box))
        seen.add(of_folder(pictures, csv="labels.csv"))
    rows = rows.replace("tower/1.png,t", "tower/1.png,u")
    written(pictures / "labels.csv", header + rows.format(split="query", box=",,,"))
    seen.add(of_folder(pictures, csv="labels.csv"))
    assert len(seen) == 4
    assert None not in seen


def test_images_that_came_went_or_were_replaced_count(pictures):
    seen = {of_folder(pictures)}
    draw(pictures / "bridge" / "2.png", 2)
    seen.add(of_folder(pictures))
    draw(pictures / "bridge" / "2.png", 2, width=24)
    seen.add(of_folder(pictures))
    (pictures / "bridge" / "2.png").rename(pictures / "tower" / "2.png")
    seen.add(of_folder(pictures))
    assert len(seen) == 4


def test_when_images_were_written_and_where_the_folder_lies_do_not(pictures, monkeypatch):
    before = of_folder(pictures)
    os.utime(pictures / "bridge" / "0.png", ns=(0, 0))
    monkeypatch.chdir(pictures.parent)
    assert of_folder(Path("pictures")) == before
    pictures.rename(pictures.with_name("moved"))
    assert of_folder(Path("moved")) == before


def test_the_data_folder_is_where_a_dataset_without_a_root_lies(pictures, monkeypatch):
    pictures.rename(pictures.with_name("folder"))
    monkeypatch.setenv("RETRIEVAL_BENCH_DATA", str(pictures.parent))
    before = stated_dataset_digest(layered({"dataset": "folder"}))
    assert before is not None
    draw(pictures.with_name("folder") / "tower" / "0.png", 0, width=30)
    assert stated_dataset_digest(layered({"dataset": "folder"})) != before


def test_a_dataset_that_was_loaded_is_not_loaded_again(pictures, monkeypatch):
    loaded = load_dataset("folder", pictures)
    settings = layered({"dataset": {"name": "folder", "root": str(pictures)}})
    expected = stated_dataset_digest(settings)
    monkeypatch.setattr(type(KINDS["dataset"].registry()), "create", None)
    assert content_of(settings, loaded) == Content({}, expected) == Content({}, dataset_digest(loaded))


def test_what_cannot_be_loaded_is_left_to_the_run(pictures):
    assert of_folder(pictures / "nowhere") is None
    assert of_folder(pictures, csv="nowhere.csv") is None
    assert stated_dataset_digest(layered({"dataset": "no_such_dataset"})) is None


def test_a_rendered_dataset_is_not_rendered_for_it(tmp_path):
    settings = layered({"dataset": {"name": "synthetic", "root": str(tmp_path / "data")}})
    assert content_of(settings) == Content()
    assert not (tmp_path / "data").exists()


PLUGIN = '''
from pathlib import Path
from retrieval_bench.data.registry import register_dataset
from retrieval_bench.values.dataset import ImageList, RetrievalDataset


@register_dataset("of_a_plugin")
def of_a_plugin(root: Path) -> RetrievalDataset:
    """Names from a text file."""
    names = (root / "names.txt").read_text().split()
    images = ImageList(names, [root / name for name in names])
    return RetrievalDataset("of_a_plugin", root, images, images, [{"easy": [0]} for _ in names])
'''


def test_a_dataset_of_the_users_own_counts_too(tmp_path):
    file = written(tmp_path / "plugin.py", PLUGIN)
    settings = layered({"dataset": {"name": "of_a_plugin", "root": str(tmp_path)}, "plugins": [str(file)]})
    assert stated_dataset_digest(settings) is None
    written(tmp_path / "names.txt", "a b")
    before = stated_dataset_digest(settings)
    assert before is not None
    written(tmp_path / "names.txt", "a c")
    assert stated_dataset_digest(settings) not in (None, before)
    KINDS["dataset"].registry()._parts.pop("of_a_plugin")
