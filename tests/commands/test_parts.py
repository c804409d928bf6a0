"""`list`: names at a glance, one part in full, and every line within 80 columns."""

import pytest

import retrieval_bench as rb
from retrieval_bench.cli import LISTED, call
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.listing import listed_settings


@pytest.fixture
def show(capsys, monkeypatch):
    """What `list` prints in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def shown(*words: str) -> str:
        assert call(["list", *words]) == 0
        out = capsys.readouterr().out
        assert all(len(line) <= 80 for line in out.splitlines())
        return out

    return shown


def in_one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("plural", [kind for kind in LISTED if kind not in ("backbones", "settings")])
def test_every_part_has_a_card(plural, show):
    kind = next(one for one in KINDS.values() if one.plural == plural)
    for name in kind.registry().names():
        card = show(plural, "--card", name)
        assert card.startswith(f"{name}  ")
        assert "(built in)" in in_one_line(card)
        assert all(option in card for option in kind.options(name) if option not in ("backbone", "pooling", "loss"))


def test_a_card_tells_types_choices_and_defaults(show):
    card = in_one_line(show("poolings", "--card", "gem"))
    assert "needs the last feature map" in card
    assert "Radenović, Tolias and Chum" in card
    assert "retrieval_bench/pooling/gem.py (built in)" in card
    assert "p float 3 initial value" in card.replace("its ", "")
    assert "learnable bool true whether p is trained" in card
    assert "Set as pooling.p=3" in card


def test_a_card_of_the_users_own(show, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(["new", "pooling", "my_card"]) == 0
    capsys.readouterr()
    card = in_one_line(show("poolings", "--card", "my_card", "--plugin", "my_card.py"))
    assert "strength mean | max mean of a position" in card
    assert "source own work" in card
    assert "my_card.py (plug-in)" in card.replace(" ", "").replace("(plug-in)", " (plug-in)")


def test_a_loss_says_which_batches_it_wants_and_that_it_takes_batch_attention(show):
    assert "any; images in random order" in in_one_line(show("losses", "--card", "arcface"))
    card = in_one_line(show("losses", "--card", "triplet"))
    assert "batches several images of each class" in card
    assert "batch_attention" in card


def test_a_method_shows_its_card(show):
    card = in_one_line(show("methods", "--card", "delg"))
    for said in (
        "Unifying Deep Local and Global Features",
        "Apache-2.0",
        "backbone: resnet50",
        "loss: arcface (margin=0.1",
        "scales 0.7071, 1, 1.414",
        "published: epochs=100",
        "2048 dimensions",
        "variant",
        "Set as model.variant=paper",
        "published mAP",
        "73.6",
    ):
        assert said in card, said


def test_a_backbone_shows_its_stages(show):
    card = in_one_line(show("backbones", "--card", "resnet50"))
    for said in (
        "-1: stride 32, 2048 channels",
        "-2: stride 16, 1024 channels",
        "-4: stride 4, 256 channels",
        "tokens none",
        "parameters 23.5 million",
        "tv_in1k",
        "they expect RGB, mean 0.485, 0.456, 0.406, deviation 0.229, 0.224, 0.225",
        "resnet50.a1_in1k",
        "pretrained",
    ):
        assert said in card, said


def test_backbones_of_our_own_have_cards(show):
    card = in_one_line(show("backbones", "--card", "ultron_s"))
    assert "-1: stride 32" in card
    assert "ultron/network.py (built in)" in card


def test_a_filter_narrows(show):
    names = show("backbones", "--filter", "resnet1?").split()
    assert "resnet18" in names
    assert all(name.startswith("resnet1") for name in names)
    assert "rmac" not in show("poolings", "--filter", "g*")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("poolings", "--card", "gme"), "did you mean 'gem'"),
        (("losses", "--card", "arcfase"), "did you mean 'arcface'"),
        (("methods", "--card", "delgg"), "did you mean 'delg'"),
        (("backbones", "--card", "resnet19"), "did you mean 'resnet18'"),
        (("poolings", "--filter", "nothing*"), "none of the poolings matches"),
        (("poolings", "--card", "gem", "--filter", "g*"), "leave one out"),
    ],
)
def test_mistakes(words, says, capsys):
    assert call(["list", *words]) == 2
    assert says in capsys.readouterr().err


def test_the_listing_names_every_part_once(show):
    names = [line.split(" ")[0] for line in show("poolings").splitlines() if line and not line.startswith((" ", "─"))]
    assert set(rb.list_poolings()) <= set(names)


def test_settings_are_listed_with_kind_default_and_text(show):
    shown = show("settings")
    assert all(f"{one.name} " in shown for one in listed_settings())
    train = in_one_line(show("settings", "--filter", "train.*"))
    assert "train.epochs int 30 * passes over the training images" in train
    assert "runtime.workers" not in train
    assert "* of the common recipe" in train
    assert "* of the common recipe" not in in_one_line(show("settings", "--filter", "runtime.*"))


@pytest.mark.parametrize(
    ("words", "says"), [(["--filter", "nothing*"], "none of the settings matches"), (["--card", "seed"], "no cards")]
)
def test_settings_that_there_are_not(words, says, capsys):
    assert call(["list", "settings", *words]) == 2
    assert says in capsys.readouterr().err
