"""What is said of keys that are no settings: where they may belong, and how make's variables are written."""

import re
from pathlib import Path

import pytest

import retrieval_bench
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import load_settings
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.settings.unknown_key import CALLED_OTHERWISE, OF_MAKE, unknown_key


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("epochs", "'train.epochs'"),
        ("epoch", "'train.epochs' or 'train.warmup_epochs'"),
        ("optimizer", "'train.optimiser'"),
        ("batch_size", "'train.batch_size' or 'extract.batch_size'"),
        ("k", "'search.k'"),
        ("dim", "'model.dim' or 'whitening.dim'"),
        ("train.size", "'train.image_size'"),
        ("extract.size", "'extract.image_size'"),
        ("train.learning_rate", "'train.lr'"),
        ("train.seed", "'seed'"),
    ],
)
def test_the_settings_that_may_be_meant(key, meant):
    assert unknown_key(key.split("."), 1) == (
        f"unknown setting {key!r}; did you mean {meant}? `retrieval-bench list settings` shows all"
    )


def test_a_misspelt_section_is_a_section():
    assert unknown_key(["trian"], {"epochs": 1}).startswith("unknown setting 'trian'; did you mean 'train'? (known: ")


def test_what_is_like_nothing_gives_no_guess():
    said = unknown_key(["search", "zzzzzz"], 1)
    assert said == (
        "unknown setting 'search.zzzzzz' (known: search.backend, search.k); `retrieval-bench list settings` shows all"
    )


@pytest.mark.parametrize("key", [key for keys in CALLED_OTHERWISE.values() for key in keys])
def test_other_names_stand_for_settings_that_there_are(key):
    section, _, name = key.partition(".")
    assert section == "model" or name in RunSettings.model_fields[section].annotation.model_fields


@pytest.mark.parametrize(
    ("override", "write"),
    [
        ("FREEZE=backbone", "train.freeze=backbone"),
        ("POOLING=rgem", "pooling=rgem"),
        ("SET=seed=1", "seed=1"),
        ("WORKERS=4", "study FILE --workers 4"),
    ],
)
def test_a_variable_of_make_is_written_otherwise(override, write):
    with pytest.raises(InputError) as caught:
        load_settings([override])
    name = override.partition("=")[0]
    assert str(caught.value) == f"{name} is a variable of make; on the command line write {write}"


@pytest.mark.parametrize("name", ["METHOD", "DATASET", "BACKBONE", "POOLING", "LOSS", "WEIGHTS", "RERANK", "FREEZE"])
def test_what_is_written_instead_is_a_setting(name):
    load_settings([OF_MAKE[name].format(value="backbone")])


def test_every_variable_of_the_makefile_is_known():
    makefile = (Path(retrieval_bench.__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    listed = re.search(r"^#.*Variables: (.*)$", makefile, re.MULTILINE)
    assert set(listed[1].split()) == set(OF_MAKE)
