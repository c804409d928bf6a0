"""Options as a card shows them: from signatures and docstrings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from retrieval_bench.settings.options import (
    Option,
    argument_texts,
    default_text,
    kind_text,
    options_of,
    paragraphs,
)


class Base:
    """A base.

    Args:
        scale: of everything.
        shift: said by the base.
    """

    def __init__(self, scale: float):
        self.scale = scale


class Part(Base):
    """What it is, with ``code``
    over two lines (Authors, Venue Year).

    More about it.

    Args:
        in_channels: C.
        p, q: two of a kind,
            on two lines: with a colon.
        shift: said by the part.

    Raises:
        InputError: no option of it.
    """

    def __init__(
        self,
        in_channels: int,
        scale: float,
        p: float = 3.0,
        q: float | None = None,
        mode: Literal["mean", "max"] = "mean",
        shift: bool = False,
        *more: int,
        **rest: int,
    ):
        super().__init__(scale)


def test_options_have_types_defaults_and_texts():
    both = "two of a kind, on two lines: with a colon."
    assert options_of(Part, {"in_channels"}) == [
        Option("scale", "float", "required", "of everything."),
        Option("p", "float", "3", both),
        Option("q", "float or null", "null", both),
        Option("mode", "mean | max", "mean", ""),
        Option("shift", "bool", "false", "said by the part."),
    ]


def test_a_function_has_options_too():
    def dataset(root: Path, box: Sequence[str] = ("x0", "y0")):
        """A dataset.

        Args:
            root: its folder.
            box: columns.
        """

    assert options_of(dataset, {"root"}) == [Option("box", "list of str", "[x0, y0]", "columns.")]


def test_annotations_that_cannot_be_resolved_are_any():
    def part(p: "NoSuchName" = 1):  # noqa: F821
        pass

    assert options_of(part) == [Option("p", "any", "1", "")]


def test_what_is_raised_is_no_argument():
    assert "InputError" not in argument_texts(Part)


def test_paragraphs_end_where_sections_begin():
    assert paragraphs(Part.__doc__) == ["What it is, with code over two lines (Authors, Venue Year).", "More about it."]
    assert paragraphs(None) == []


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (Literal["a", None], "a | null"),
        (Literal["a", "b"] | None, "a | b or null"),
        (tuple[float, ...], "list of float"),
        (None | int, "int or null"),
        (Mapping[str, Any], "mapping"),
        (Any, "any"),
    ],
)
def test_kinds_of_values(hint, text):
    assert kind_text(hint) == text


@pytest.mark.parametrize(
    ("default", "text"), [(True, "true"), (None, "null"), (1e-6, "1e-06"), ((0.5, 1.0), "[0.5, 1]"), ("gem", "gem")]
)
def test_defaults_as_they_are_typed(default, text):
    assert default_text(default) == text
