import inspect
from typing import Any

import pytest
from torch import nn

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.options import options_of
from retrieval_bench.settings.registry import Registry
from retrieval_bench.settings.signature import hints_of, parameters_of


class Base(nn.Module):
    def __init__(self, channels: int, p: float = 3.0, *, learnable: bool = False):
        super().__init__()
        self.p, self.learnable = p, learnable


class Extended(Base):
    def __init__(self, channels: int, *args: Any, sharpness: int = 2, **kwargs: Any):
        super().__init__(channels, *args, **kwargs)
        self.sharpness = sharpness


class Twice(Extended):
    def __init__(self, p: int = 5, **kwargs: Any):
        super().__init__(p=p, **kwargs)


class Unchanged(Extended):
    pass


class Nowhere(nn.Module):
    def __init__(self, channels: int, **kwargs: Any):
        super().__init__()


def plain(channels: int, **kwargs: Any) -> None:
    pass


def test_options_that_are_passed_on_are_those_of_the_class_that_takes_them():
    assert list(parameters_of(Extended)) == ["channels", "sharpness", "p", "learnable"]
    assert list(parameters_of(Unchanged)) == ["channels", "sharpness", "p", "learnable"]
    assert list(parameters_of(Twice)) == ["p", "channels", "sharpness", "learnable"]


def test_what_an_extending_class_names_itself_is_as_it_says():
    assert parameters_of(Twice)["p"].default == 5
    assert hints_of(Twice)["p"] is int
    assert hints_of(Twice)["learnable"] is bool


@pytest.mark.parametrize("part", [Base, plain, Nowhere])
def test_other_parts_keep_their_signature(part):
    assert parameters_of(part) == dict(inspect.signature(part).parameters)


def test_options_passed_on_are_listed_typed_and_given():
    registry = Registry("pooling", "retrieval_bench.pooling")
    registry.register("extended")(Extended)
    assert [option.name for option in options_of(Extended, given=["channels"])] == ["sharpness", "p", "learnable"]
    made = registry.create("extended", {"p": "4", "learnable": "true"}, channels=8)
    assert (made.p, made.learnable, made.sharpness) == (4.0, True, 2)
    with pytest.raises(InputError, match=r"p=.*is wrong"):
        registry.create("extended", {"p": "high"}, channels=8)
    with pytest.raises(InputError, match="did you mean 'sharpness'"):
        registry.create("extended", {"sharpnes": 1}, channels=8)
