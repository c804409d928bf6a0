"""What a run with batch attention leaves behind: weights that evaluate, convert and go on without a word about it."""

import pytest
from tiny_data import TINY_DATA

import retrieval_bench as rb
from retrieval_bench.cli import call
from retrieval_bench.settings.record import read_record

COMMON = (
    *TINY_DATA,
    "dataset.image_size=64",
    "evaluate.resamples=20",
    "extract.scales=[1]",
    "runtime.workers=0",
    "runtime.accelerator=cpu",
)
TRAINED = (
    "backbone=test_resnet",
    "pooling=boq",
    "loss=recallatk",
    "loss.batch_attention=batchformer",
    "train.epochs=1",
    "train.batch_size=8",
    "train.image_size=64",
    "model.dim=16",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("synthetic")


def recorded(folder):
    return [read_record(path.parent) for path in sorted(folder.rglob("record.json"))]


def test_its_weights_evaluate_and_convert(root, tmp_path, capsys):
    data = (*COMMON, f"dataset.root={root}")
    assert call(["bench", "gem", *data, *TRAINED, f"runs={tmp_path / 'trained'}"]) == 0, capsys.readouterr().err
    (weights,) = (tmp_path / "trained").rglob("final.ckpt")
    converted = tmp_path / "converted.safetensors"
    assert call(["weights", "convert", str(weights), str(converted)]) == 0
    for file, runs in ((weights, "given"), (converted, "converted")):
        assert call(["evaluate", "gem", f"weights={file}", *data, f"runs={tmp_path / runs}"]) == 0
        model = rb.create_model("gem", weights=file)
        assert (model.unused_weights, model.absent_weights) == ({}, ())
        assert model.loss.batch_attention.draws[1] > 0
    (first,), *others = (recorded(tmp_path / runs) for runs in ("trained", "given", "converted"))
    for (other,) in others:
        assert other.title == first.title
        assert other.parts == first.parts
        assert other.stages[0].levels == first.stages[0].levels
    assert first.title == "GeM test_resnet, pooling boq, loss recallatk, batch attention batchformer"
    assert first.card.implementation.endswith(
        "with its own parts outputs equal the authors' code (parity cases gem); here with backbone test_resnet, "
        "pooling boq, loss recallatk, batch attention batchformer"
    )


def test_a_typo_in_its_name_is_one_line(root, tmp_path, capsys):
    words = ["bench", "gem", *COMMON, *TRAINED, f"dataset.root={root}", f"runs={tmp_path}"]
    for typo, said in (
        ("loss.batch_attentoin=batchformer", "did you mean 'batch_attention'"),
        ("loss.batch_attention=batchfromer", "did you mean 'batchformer'"),
    ):
        assert call([*words, typo]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert said in line
        assert "known: " in line
