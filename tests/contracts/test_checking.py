"""What `check`, `run` and `outcomes` promise, whatever the kind."""

from unittest import SkipTest

import pytest
import torch
from torch import Tensor

from retrieval_bench import contracts
from retrieval_bench.pooling import Pooling
from retrieval_bench.settings.errors import InputError


class Average(Pooling):
    """The mean over positions."""

    def __init__(self, in_channels: int, factor: float = 1.0):
        super().__init__()
        if factor == 0:
            raise InputError("pooling.factor must not be 0")
        if factor < 0:
            raise ZeroDivisionError("no root\nof that")
        self.out_channels = in_channels
        self.factor = factor

    def forward(self, feature_map: Tensor) -> Tensor:
        if self.factor > 10:
            raise ValueError("too much")
        return self.factor * feature_map.mean(dim=(2, 3))


@pytest.fixture
def average(register):
    return register("pooling", Average)


@pytest.mark.parametrize("kind", contracts.KINDS)
def test_every_check_says_what_it_looks_at(kind):
    names = [*contracts.check_names(kind), *contracts.slow_check_names(kind)]
    assert names[0] == "builds"
    assert len(set(names)) == len(names)
    for which in names:
        said = contracts.describe(kind, which)
        assert said.endswith("."), which
        assert len(said) <= 120


def test_generated_code_and_onnx_are_slow():
    assert contracts.slow_check_names("pooling") == ["inductor", "onnx"]
    assert {"exported", "compiled"} <= set(contracts.check_names("pooling"))


def test_a_check_that_is_kept_is_silent(average):
    assert contracts.check("pooling", average, "any-size") is None


def test_a_check_that_is_not_kept_is_an_assertion_error_of_one_line(average):
    with pytest.raises(AssertionError) as caught:
        contracts.check("pooling", average, "any-size", {"factor": 11.0})
    assert str(caught.value).startswith("it raised ValueError: too much (test_checking.py, line ")


def test_options_reach_the_part(average):
    [outcome] = contracts.run("pooling", average, {"factor": 11.0}, which=["any-size"])
    assert not outcome.passed
    [outcome] = contracts.run("pooling", average, {"factor": 2.0}, which=["any-size"])
    assert outcome.passed


def test_a_check_that_cannot_be_made_is_a_skipped_test():
    with pytest.raises(SkipTest, match="it has no classes"):
        contracts.check("loss", "triplet", "logits")
    [outcome] = contracts.run("loss", "triplet", which=["logits"])
    assert outcome == contracts.Outcome("logits", True, "it has no classes, so no logits", skipped=True)


def test_what_cannot_be_built_has_one_outcome(average):
    found = contracts.run("pooling", average, {"factor": -1.0})
    assert [(one.check, one.passed) for one in found] == [("builds", False)]
    assert found[0].reason.startswith("building it raised ZeroDivisionError: no root (test_checking.py, line ")


@pytest.mark.parametrize(
    ("kind", "name", "which", "options", "said"),
    [
        ("poling", "gem", None, {}, "unknown kind of part 'poling'; did you mean 'pooling'"),
        ("pooling", "gme", None, {}, "unknown pooling 'gme'; did you mean 'gem'"),
        ("pooling", "gem", ["any-sise"], {}, "did you mean 'any-size'"),
        ("pooling", "gem", None, {"pp": 3}, "did you mean 'p'"),
        ("pooling", "gem", None, {"p": "high"}, "option p='high' of pooling 'gem' is wrong"),
        ("backbone", "resnet5O", None, {}, "did you mean 'resnet50'"),
        ("dataset", "folder", None, {"root": "nowhere"}, "nowhere is not a folder"),
    ],
)
def test_wrong_inputs_are_input_errors(kind, name, which, options, said):
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        contracts.run(kind, name, options, which=which)


def test_a_value_that_a_part_refuses_is_an_input_error(average):
    with pytest.raises(InputError, match="must not be 0"):
        contracts.run("pooling", average, {"factor": 0.0})


def test_random_numbers_outside_are_left_alone(average):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    contracts.run("pooling", average, which=["any-size", "state-dict"])
    assert torch.equal(torch.rand(1), expected)


def test_who_listens_is_told_what_begins(average):
    told = []
    names = ["any-size", "builds"]
    found = list(contracts.outcomes("pooling", average, which=names, begins=told.append))
    assert told == names == [one.check for one in found]


def test_a_pooling_that_says_nothing_of_order_is_measured(average):
    [outcome] = contracts.run("pooling", average, which=["position-order"])
    assert outcome.reason == "shuffling positions does not change the result"
