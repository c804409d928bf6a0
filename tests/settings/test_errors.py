"""The sentence about an unknown name, and errors in one line."""

import pytest

from retrieval_bench.settings.errors import SHOWN, InputError, alike, nearest, one_line


def test_the_nearest_name_comes_first_and_all_are_listed():
    assert nearest("gme", ["spoc", "gem", "mac"], noun="pooling") == (
        "unknown pooling 'gme'; did you mean 'gem'? (known: gem, mac, spoc)"
    )


def test_nothing_near_gives_no_guess():
    sentence = nearest("zzz", ["gem", "mac"], noun="pooling")
    assert "did you mean" not in sentence
    assert "gem, mac" in sentence


def test_nothing_known():
    assert nearest("gem", [], noun="pooling") == "unknown pooling 'gem' (known: none)"


def test_of_many_names_the_near_ones_are_listed_with_their_number():
    known = [f"resnet{depth}" for depth in range(100)] + ["swin"]
    sentence = nearest("resnet500", known, noun="backbone")
    listed = sentence.partition("(known: ")[2].split(", ")
    assert len(listed) == SHOWN + 1
    assert all(name.startswith("resnet") for name in listed[:-1])
    assert listed[-1] == "... 101 in all)"


def test_of_many_names_as_many_are_listed_as_there_is_room_for():
    sentence = nearest("swim", [f"resnet{depth}" for depth in range(100)] + ["swin"], noun="backbone")
    listed = sentence.partition("(known: ")[2].split(", ")
    assert listed[:2] == ["swin", "resnet0"]
    assert len(listed) == SHOWN + 1


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("dinov2", ["dpn92", "vit_small_patch14_dinov2"], ["vit_small_patch14_dinov2"]),
        ("P", ["eps", "p"], ["p"]),
        ("GeM", ["gem", "mac"], ["gem"]),
        ("epochs", ["search", "seed"], []),
        ("train.size", ["train.size_limit", "train.seed"], ["train.size_limit"]),
        ("resnet50.tv", ["resnet50", "tv"], ["resnet50"]),
        ("epoch", ["warmup_epochs", "epochs"], ["epochs", "warmup_epochs"]),
        ("em", ["gem", "netvlad"], ["gem"]),
        ("vl", ["netvlad"], []),
    ],
)
def test_what_is_alike(name, known, expected):
    assert alike(name, known) == expected


@pytest.mark.parametrize("name", ["gme", "x" * 300])
def test_it_is_one_line(name):
    assert "\n" not in nearest(name, ["gem"], noun="pooling")


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("no file\n"), "no file"),
        (RuntimeError("out of memory\nat layer 3"), "RuntimeError: out of memory"),
        (KeyboardInterrupt(), "KeyboardInterrupt: no message"),
    ],
)
def test_an_error_in_one_line(error, line):
    assert one_line(error) == line
