"""A part below a part: batch attention below the loss, named and given options on the command line or in YAML."""

import pytest

from retrieval_bench.settings.loading import dump, layered, load_settings

WHOLE = {"name": "smoothap", "batch_attention": {"name": "batchformer", "heads": 4}}


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss=smoothap", "loss.batch_attention=batchformer", "loss.batch_attention.heads=4"],
        ["loss.batch_attention.heads=4", "loss.batch_attention=batchformer", "loss=smoothap"],
        ["loss.batch_attention.heads=4", "loss=smoothap", "loss.batch_attention.name=batchformer"],
        ["loss=smoothap", "loss.batch_attention={name: batchformer, heads: 4}"],
        ["loss={name: smoothap, batch_attention: batchformer}", "loss.batch_attention.heads=4"],
    ],
    ids=" ".join,
)
def test_name_and_options_in_any_order(overrides):
    assert load_settings(overrides).loss.given() == WHOLE


def test_without_a_loss_it_belongs_to_the_method_s_own():
    loss = load_settings(["loss.batch_attention=batchformer"]).loss
    assert loss.name is None
    assert loss.options["batch_attention"] == {"name": "batchformer"}


@pytest.mark.parametrize("nothing", ["none", "null", ""])
def test_it_is_left_out(nothing, tmp_path):
    file = tmp_path / "given.yaml"
    file.write_text("loss:\n  name: smoothap\n  batch_attention:\n    name: batchformer\n    heads: 4\n")
    given = load_settings([f"loss.batch_attention={nothing}"], config=file).loss.given()
    assert given == {"name": "smoothap", "batch_attention": {"name": None}}


def test_another_one_drops_the_options_of_the_one_below(tmp_path):
    file = tmp_path / "given.yaml"
    file.write_text("loss:\n  name: smoothap\n  batch_attention:\n    name: batchformer\n    heads: 4\n")
    other = load_settings(["loss.batch_attention=other"], config=file)
    assert other.loss.options["batch_attention"] == {"name": "other"}
    same = load_settings(["loss.batch_attention=batchformer", "loss.batch_attention.layers=2"], config=file)
    assert same.loss.options["batch_attention"] == {"name": "batchformer", "heads": 4, "layers": 2}
    loss = load_settings(["loss=triplet"], config=file)
    assert loss.loss.given() == {"name": "triplet"}


def test_a_file_may_give_its_name_alone(tmp_path):
    file = tmp_path / "given.yaml"
    file.write_text("loss:\n  name: smoothap\n  batch_attention: batchformer\n")
    settings = load_settings(["loss.batch_attention.heads=4"], config=file)
    assert settings.loss.given() == WHOLE
    assert layered({"loss": {"name": "smoothap", "batch_attention": "batchformer"}}).loss.given() == {
        "name": "smoothap",
        "batch_attention": {"name": "batchformer"},
    }


def test_what_is_dumped_is_read_back_equal(tmp_path):
    settings = load_settings(["loss=smoothap", "loss.batch_attention=batchformer", "loss.batch_attention.heads=4"])
    (tmp_path / "dumped.yaml").write_text(dump(settings))
    assert load_settings(config=tmp_path / "dumped.yaml") == settings
