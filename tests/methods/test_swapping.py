"""What a model has in place of its method's own parts."""

import pytest
import torch

import retrieval_bench as rb
from retrieval_bench.methods.swapping import changed_options, swapped_parts

TINY = {"backbone": "test_resnet"}


@pytest.mark.parametrize("method", rb.list_methods())
def test_only_what_was_named_otherwise_counts(method, build):
    model = build(method)
    before = torch.random.get_rng_state()
    assert swapped_parts(model) == TINY
    assert torch.equal(torch.random.get_rng_state(), before)


def test_every_kind(build):
    loss = {"name": "smoothap", "batch_attention": {"name": "batchformer", "heads": 2}}
    model = build("gem", pooling="boq", loss=loss)
    assert swapped_parts(model) == TINY | {"pooling": "boq", "loss": "smoothap", "batch attention": "batchformer"}


def test_options_of_an_own_part_are_no_swap(build):
    assert swapped_parts(build("gem", pooling={"name": "gem", "p": 4.0}, loss={"margin": 0.3})) == TINY


def test_the_own_parts_are_those_of_the_variant(build):
    for variant in ("pytorch", "paper"):
        assert swapped_parts(build("delg", variant=variant)) == TINY


def test_a_checkpoint_brings_its_parts(build, save, tmp_path):
    path = save(build("gem", pooling="boq", loss="smoothap"), tmp_path / "own.ckpt")
    assert swapped_parts(rb.create_model("gem", weights=path)) == TINY | {"pooling": "boq", "loss": "smoothap"}


def test_a_method_with_its_own_parts_swaps_nothing():
    with torch.device("meta"):
        assert swapped_parts(rb.create_model("gem")) == {}


@pytest.mark.parametrize("method", rb.list_methods())
def test_a_method_as_it_is_changes_no_option(method, build):
    assert changed_options(build(method)) == {}


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"pooling": {"p": 4.0}}, {"pooling": {"p": 4.0}}),
        ({"pooling": {"p": 3}}, {}),
        ({"pooling": {"name": "gem", "learnable": True}}, {"pooling": {"learnable": True}}),
        ({"variant": "cirtorch"}, {}),
        ({"pooling": {"name": "gemp", "p": 5}}, {"pooling": {"p": 5}}),
        ({"loss": {"margin": 0.3}}, {"loss": {"margin": 0.3}}),
        ({"loss": {"name": "smoothap", "batch_attention": "batchformer"}}, {}),
        (
            {"loss": {"name": "smoothap", "batch_attention": {"name": "batchformer", "heads": 2}}},
            {"batch attention": {"heads": 2}},
        ),
    ],
    ids=str,
)
def test_options_are_held_against_the_methods_own_or_the_swapped_parts(given, changed, build):
    assert changed_options(build("gem", **given)) == changed
