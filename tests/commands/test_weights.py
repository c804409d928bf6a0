"""`weights inspect` tells what a file is; `weights convert` writes it as ours, with nothing lost on the way."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity_case import load
from published_file import write
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import retrieval_bench as rb
from retrieval_bench.cli import call
from retrieval_bench.extraction.digest import model_digest, tensors_digest
from retrieval_bench.methods.checkpoints import CheckpointFormat, Translation, take
from retrieval_bench.methods.gem.module import Gem
from retrieval_bench.methods.registry import METHODS
from retrieval_bench.weights.own_entry import OWN
from retrieval_bench.weights.provenance import PROVENANCE

SMALL: dict[str, Any] = {"backbone": {"name": "test_resnet"}, "dim": 16, "num_classes": 3}


def translate(state: dict[str, Tensor], extra: Any) -> Translation:
    unused = take(state, "queue.", "of the training")
    ours = {key.removeprefix("net."): value for key, value in state.items()}
    return Translation(ours, SMALL, unused, trained_on="postcards", optional=("loss.",))


AUTHORS = CheckpointFormat("authors' own", lambda keys: "net.projection.weight" in keys, translate)


class Postcard(Gem):
    """GeM, as if it were published by somebody else."""

    formats = (AUTHORS,)


class Letter(Postcard):
    """Another method that reads the same file."""


@pytest.fixture
def postcard(monkeypatch):
    METHODS.names()
    monkeypatch.setitem(METHODS._parts, "postcard", Postcard)


@pytest.fixture
def letter(monkeypatch):
    METHODS.names()
    monkeypatch.setitem(METHODS._parts, "letter", Letter)


@pytest.fixture
def published(tmp_path, postcard) -> Path:
    """A file of Postcard's authors: a prefix of parallel training, a queue, no classifier."""
    torch.manual_seed(3)
    state = {f"module.net.{key}": value for key, value in rb.create_model("gem", **SMALL).state_dict().items()}
    state = {key: value for key, value in state.items() if "net.loss." not in key} | {"queue.keys": torch.ones(2, 5)}
    content = {"epoch": 7, "model_state": state, "cfg": "A: 1\n", "optimizer_state": {"state": {0: torch.ones(1)}}}
    torch.save(content, tmp_path / "postcard.pyth")
    return tmp_path / "postcard.pyth"


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 48, 40, generator=torch.Generator().manual_seed(0))


def shown(capsys, *words: object) -> str:
    """What a command prints when it goes well."""
    assert call([str(word) for word in words]) == 0
    return capsys.readouterr().out


def refused(capsys, *words: object) -> str:
    """The one line that a wrong input gives."""
    assert call([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_inspect_tells_what_a_published_file_is(capsys, published):
    text = shown(capsys, "weights", "inspect", "--tensors", published)
    state = torch.load(published, weights_only=True)["model_state"]
    bare = {key.removeprefix("module."): value for key, value in state.items()}
    for said in (
        "container: torch zip, ",
        f"sha256: {hashlib.sha256(published.read_bytes()).hexdigest()}",
        f"tensors: {len(state)} in entry 'model_state'",
        f"tensor digest: {tensors_digest(bare)}",
        "epoch: 7; cfg: text of 5 characters; optimizer_state: dict of 1 entries, 1 tensors",
        "recognised as postcard (authors' own)",
        "fixes: backbone=test_resnet, dim=16, num_classes=3",
        "trained on: postcards",
        "not used: 1, of the training: queue.keys",
        "initial values: 1 not in the file: loss.weight",
        "net.projection.weight (16, 512) -> projection.weight".replace(
            "512", str(bare["net.projection.weight"].shape[1])
        ),
        "queue.keys (2, 5), not used: of the training",
    ):
        assert said in text, text
    assert "NOT" not in text
    learnt = sum(v.numel() for k, v in bare.items() if v.is_floating_point() and "running_" not in k)
    assert f"parameters: {learnt:,}\n" in text


def test_every_tensor_stands_in_the_list(capsys, published):
    text = shown(capsys, "weights", "inspect", "--tensors", published)
    state = torch.load(published, weights_only=True)["model_state"]
    assert [key for key in state if f"\n  {key.removeprefix('module.')} (" not in text] == []


def test_a_converted_file_describes_to_the_last_bit(capsys, published, tmp_path, images):
    target = tmp_path / "new" / "out.safetensors"
    text = shown(capsys, "weights", "convert", published, target)
    before, after = (rb.create_model("postcard", weights=file) for file in (published, target))
    assert torch.equal(after.describe(images), before.describe(images))
    assert after.settings == before.settings
    assert after.trained_on == "postcards"
    assert (after.unused_weights, after.absent_weights) == ({}, ("loss.weight",))
    assert after.weights_source == f"out.safetensors ({OWN}), converted from postcard.pyth (authors' own)"
    assert "not used: 1, of the training: queue.keys" in text
    assert [file.name for file in target.parent.iterdir()] == ["out.safetensors"]


@pytest.mark.parametrize("method", rb.list_methods())
def test_every_method_is_converted_to_the_last_bit(capsys, tmp_path, images, method):
    model = rb.create_model(method, **SMALL)
    torch.save({"state_dict": model.state_dict(), OWN: model.own_entry()}, tmp_path / "own.ckpt")
    shown(capsys, "weights", "convert", tmp_path / "own.ckpt", tmp_path / "out.safetensors")
    again = rb.create_model(method, weights=tmp_path / "out.safetensors")
    assert torch.equal(again.describe(images), model.describe(images))
    assert tensors_digest(load_file(tmp_path / "out.safetensors")) == model_digest(model)
    assert (again.unused_weights, again.absent_weights) == ({}, ())


def test_a_file_of_cirtorch_is_converted_to_the_last_bit(capsys, tmp_path):
    case = load(Path(__file__).parents[1] / "parity" / "gem" / "r18_gem_nowhiten_msp")
    meta = {"pooling": case.settings["pooling"], "Lw": {"rSfM": {"ms": {"P": np.eye(4)}}}}
    published = write(tmp_path / "gem.pth", case.state_dict, "state_dict", meta=meta)
    text = shown(capsys, "weights", "convert", published, tmp_path / "out.safetensors")
    assert "not used: 1, post-hoc whitening, applied to finished descriptors: meta.Lw[rSfM]" in text
    before, after = (rb.create_model("gem", weights=tmp_path / name) for name in ("gem.pth", "out.safetensors"))
    images = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    assert torch.equal(after.describe(images), before.describe(images))
    assert after.settings == before.settings
    assert after.weights_source == f"out.safetensors ({OWN}), converted from gem.pth (cirtorch)"


def test_the_origin_travels_with_a_converted_file(capsys, published, tmp_path):
    target = tmp_path / "out.safetensors"
    shown(capsys, "weights", "convert", published, target)
    with safe_open(target, "pt") as file:
        stored = json.loads(file.metadata()[PROVENANCE])
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert (stored["source"], stored["sha256"], stored["format"]) == ("postcard.pyth", digest, "authors' own")
    assert (stored["trained_on"], stored["unused"]) == ("postcards", {"queue.keys": "of the training"})
    text = shown(capsys, "weights", "inspect", "--tensors", target)
    for said in ("from: postcard.pyth (authors' own)", f"its sha256: {digest}", f"on: {stored['date']} by retrieval_"):
        assert said in text
    assert f"recognised as postcard ({OWN})" in text


def test_converting_twice_gives_the_same_tensors(capsys, published, tmp_path):
    first, second, third = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "third"))
    shown(capsys, "weights", "convert", published, first)
    torch.manual_seed(99)
    shown(capsys, "weights", "convert", published, second)
    shown(capsys, "weights", "convert", first, third)
    assert len({tensors_digest(load_file(file)) for file in (first, second, third)}) == 1
    model = rb.create_model("postcard", weights=third)
    assert model.weights_source == f"third.safetensors ({OWN}), converted from postcard.pyth (authors' own)"
    assert model.absent_weights == ("loss.weight",)
    text = shown(capsys, "weights", "inspect", "--tensors", third)
    assert text.index("from: first.safetensors") < text.index("from: postcard.pyth")


def test_the_digest_of_an_own_checkpoint_is_that_of_records(capsys, tmp_path):
    model = rb.create_model("gem", **SMALL)
    save_file(model.state_dict(), tmp_path / "own.safetensors", {OWN: model.own_entry()})
    text = shown(capsys, "weights", "inspect", "--tensors", tmp_path / "own.safetensors")
    assert f"digest in records: {model_digest(model)}" in text
    assert "pixel values: RGB, mean 0.485, 0.456, 0.406, deviation 0.229, 0.224, 0.225 (method gem)" in text
    assert f"recognised as gem ({OWN})" in text
    assert "pooling=gem(p=3.0, learnable=False)" in text
    assert "projection.weight (16, " in text


def test_tensors_that_share_memory_are_converted(capsys, tmp_path, postcard, monkeypatch, images):
    model = rb.create_model("postcard", **SMALL)
    tied = model.state_dict()
    tied["backbone.body.bn1.bias"] = tied["backbone.body.bn1.running_mean"]
    torch.save({"state_dict": tied, OWN: model.own_entry()}, tmp_path / "own.ckpt")
    shown(capsys, "weights", "convert", tmp_path / "own.ckpt", tmp_path / "out.safetensors")
    model.load_state_dict(tied)
    again = rb.create_model("postcard", weights=tmp_path / "out.safetensors")
    assert torch.equal(again.describe(images), model.describe(images))


def test_several_methods_that_recognise_a_file_are_named(capsys, published, letter, tmp_path):
    target = tmp_path / "out.safetensors"
    line = refused(capsys, "weights", "convert", published, target)
    assert "loads as letter and as postcard; say which: --method letter" in line
    assert not target.exists()
    text = shown(capsys, "weights", "inspect", "--tensors", published)
    assert "recognised as letter (authors' own)" in text
    assert "recognised as postcard (authors' own)" in text
    assert "recognised as letter" not in shown(capsys, "weights", "inspect", published, "--method", "postcard")
    shown(capsys, "weights", "convert", "--method", "letter", published, target)
    assert rb.create_model("letter", weights=target).method == "letter"


def test_an_own_checkpoint_is_converted_for_the_method_that_wrote_it(capsys, postcard, letter, monkeypatch, tmp_path):
    monkeypatch.setattr(Letter, "loads_from", ("postcard",))
    model = rb.create_model("postcard", **SMALL)
    torch.save({"state_dict": model.state_dict(), OWN: model.own_entry()}, tmp_path / "own.ckpt")
    text = shown(capsys, "weights", "inspect", "--tensors", tmp_path / "own.ckpt")
    assert f"recognised as letter ({OWN})" in text
    assert f"recognised as postcard ({OWN})" in text
    shown(capsys, "weights", "convert", tmp_path / "own.ckpt", tmp_path / "out.safetensors")
    assert rb.create_model("postcard", weights=tmp_path / "out.safetensors").method == "postcard"


def test_a_file_is_never_overwritten(capsys, published, tmp_path):
    target = tmp_path / "out.safetensors"
    target.write_text("mine")
    assert "is there already; remove it" in refused(capsys, "weights", "convert", published, target)
    assert target.read_text() == "mine"


def test_a_conversion_that_fails_leaves_nothing(capsys, published, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("retrieval_bench.extraction.tensor_file.save_file", fail)
    assert call(["weights", "convert", str(published), str(tmp_path / "new" / "out.safetensors")]) == 1
    assert "disk full" in capsys.readouterr().err
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["convert", "FILE", "out.pth"], r"the output out.pth must end in .safetensors"),
        (["convert", "nowhere.pth", "out.safetensors"], "no weight file at nowhere.pth; check the path"),
        (["convert", "FILE", "out.safetensors", "--method", "postcrad"], "did you mean 'postcard'"),
        (["convert", "FILE", "out.safetensors", "--method", "delg"], "in no format known for method 'delg'"),
        (["inspect", "FILE", "--method", "delg"], "in no format known for method 'delg'"),
        (["inspect", "nowhere.pth"], "no weight file at nowhere.pth; check the path"),
        (["inspect", "FILE", "--plugin", "nowhere.py"], "no plug-in file at nowhere.py"),
        (["inspect", "page.pth"], "page.pth is a web page"),
    ],
)
def test_a_wrong_input_is_one_line(capsys, published, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    Path("page.pth").write_text("<html>")
    here = sorted(tmp_path.iterdir())
    assert said in refused(capsys, "weights", *[published if word == "FILE" else word for word in words])
    assert sorted(tmp_path.iterdir()) == here


def test_an_unknown_file_says_what_its_names_begin_with(capsys, tmp_path):
    torch.save(
        {"enc.a.weight": torch.ones(2), "enc.a.bias": torch.ones(1), "head.w": torch.ones(1)}, tmp_path / "w.pth"
    )
    text = shown(capsys, "weights", "inspect", "--tensors", tmp_path / "w.pth")
    assert "in no known format" in text
    assert "names begin: enc.a (2), head (1)" in text
    assert "gem: cirtorch" in text
    assert "what to do: for a backbone, give it as backbone.weights=FILE; for a network of your own" in text
    line = refused(capsys, "weights", "convert", tmp_path / "w.pth", tmp_path / "out.safetensors")
    assert "is in no format that a method knows; see `retrieval-bench weights inspect" in line


def test_imagenet_weights_are_told_to_be_a_backbone(capsys, tmp_path):
    import timm

    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "w.pth")
    text = shown(capsys, "weights", "inspect", "--tensors", tmp_path / "w.pth")
    assert "the names are those of an ImageNet resnet18: give it as backbone.weights=FILE" in text


def test_a_method_that_is_not_here_is_named(capsys, tmp_path):
    entry = json.dumps({"method": "mine", "settings": {}, "trained_on": "x"})
    torch.save({"state_dict": {"a": torch.ones(1)}, OWN: entry}, tmp_path / "w.ckpt")
    text = shown(capsys, "weights", "inspect", "--tensors", tmp_path / "w.ckpt")
    assert "it holds method 'mine', which is not here: give its file as --plugin FILE" in text


def test_a_file_that_its_method_cannot_load_says_why(capsys, published, tmp_path):
    content = torch.load(published, weights_only=True)
    del content["model_state"]["module.net.projection.bias"]
    content["model_state"]["module.net.pooling.p"] = torch.full((1,), float("nan"))
    torch.save(content, tmp_path / "w.pth")
    text = shown(capsys, "weights", "inspect", "--tensors", tmp_path / "w.pth")
    assert "DOES NOT LOAD: " in text
    assert "1 missing: projection.bias" in text
    assert "NOT FINITE: net.pooling.p" in text
    assert "fit" in refused(capsys, "weights", "convert", tmp_path / "w.pth", tmp_path / "out.safetensors")


def test_a_file_that_lacks_what_its_format_needs_is_still_inspected(capsys, published, monkeypatch):
    def fail(state: object, extra: Any) -> Translation:
        raise KeyError("meta")

    monkeypatch.setattr(Postcard, "formats", (CheckpointFormat("authors' own", AUTHORS.recognises, fail),))
    text = shown(capsys, "weights", "inspect", "--tensors", published)
    assert "DOES NOT LOAD: " in text
    assert "KeyError: 'meta'" in text


def test_brackets_in_names_are_printed_as_they_are(capsys, tmp_path):
    torch.save({"a[red].w": torch.ones(1), "b[/]": torch.ones(1)}, tmp_path / "w.pth")
    text = shown(capsys, "weights", "inspect", "--tensors", tmp_path / "w.pth")
    assert "\n  a[red].w (1,)\n  b[/] (1,)" in text


@pytest.mark.parametrize("words", [["weights", "--help"], ["weights", "convert", "--help"]])
def test_help_shows_an_example(capsys, words):
    assert "retrieval-bench weights convert model_epoch_0100.pyth delg.safetensors" in shown(capsys, *words)


def test_the_list_of_tensors_is_asked_for(capsys, published):
    assert "(16, " not in shown(capsys, "weights", "inspect", published)
