"""A whole run with a ranking loss, batch attention and hard negatives, composed on the command line alone."""

import json

import pytest
import yaml
from tiny_data import TINY_DATA

from retrieval_bench.cli import call
from retrieval_bench.settings.record import read_record

SMALL = (
    *TINY_DATA,
    "dataset.image_size=64",
    "backbone=test_resnet",
    "pooling=spoc",
    "train.epochs=2",
    "train.batch_size=8",
    "train.image_size=64",
    "model.dim=16",
    "evaluate.resamples=20",
    "runtime.workers=0",
    "runtime.accelerator=cpu",
)
COMPOSED = ("loss=smoothap", "loss.batch_attention=batchformer", "loss.batch_attention.heads=2")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("synthetic")


def bench(root, folder, *more):
    code = call(["bench", "gem", *SMALL, f"dataset.root={root}", f"runs={folder}", *COMPOSED, *more])
    return code, sorted(folder.rglob("record.json"))


@pytest.mark.parametrize(
    ("more", "sampler", "instances"),
    [((), "class-balanced", 4), (("train.sampler=hard-negatives", "train.instances=2"), "hard-negatives", 2)],
    ids=["its own batches", "hard negatives"],
)
def test_from_settings_to_record(more, sampler, instances, root, tmp_path, capsys):
    code, records = bench(root, tmp_path, *more)
    assert code == 0, capsys.readouterr().err
    record = read_record(records[0].parent)
    assert record.parts["loss"] == "smoothap"
    assert record.parts["batch attention"] == "batchformer"
    assert record.title.endswith("pooling spoc, loss smoothap, batch attention batchformer (heads=2)")
    shown = yaml.safe_load((records[0].parent / "config.yaml").read_text())
    assert shown["loss"] == {"name": "smoothap", "batch_attention": {"name": "batchformer", "heads": 2}}
    history = json.loads((records[0].parent / "history.json").read_text())
    assert all(row["train/loss"] < 1 for row in history)
    assert (shown["train"]["sampler"], shown["train"]["instances"]) == (sampler, instances)


def test_a_typo_is_one_line(root, tmp_path, capsys):
    code, _ = bench(root, tmp_path, "loss.batch_attention.head=2")
    assert code == 2
    assert "did you mean 'heads'" in " ".join(capsys.readouterr().err.split())
