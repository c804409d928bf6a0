"""Parts by name, with their options."""

import sys
from abc import ABC, abstractmethod

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.registry import Registry

SHAPE = """
from {package}.parts import REGISTRY

@REGISTRY.register("{name}")
class {cls}:
    def __init__(self, in_channels, power=3.0):
        self.in_channels = in_channels
        self.power = power
"""


@pytest.fixture
def registry():
    """A registry whose package is one that is already imported and registers nothing."""
    filled = Registry("shape", "retrieval_bench.values")

    @filled.register("square")
    class Square:
        def __init__(self, in_channels: int, power: float = 3.0, *, side: float):
            self.in_channels, self.power, self.side = in_channels, power, side

    @filled.register("dot")
    def dot(size: int = 1) -> str:
        return "." * size

    return filled


def test_names_are_sorted(registry):
    assert registry.names() == ["dot", "square"]


def test_create_gives_the_surroundings_only_to_parts_that_name_them(registry):
    square = registry.create("square", {"side": 2}, in_channels=8, num_classes=4)
    assert (square.in_channels, square.power, square.side) == (8, 3.0, 2)
    assert registry.create("dot", {"size": 3}, in_channels=8) == "..."


def test_a_function_can_be_a_part(registry):
    assert registry.create("dot", {}) == "."


def test_an_unknown_name_gives_the_nearest(registry):
    with pytest.raises(InputError, match=r"unknown shape 'sqare'; did you mean 'square'\?"):
        registry.get("sqare")


def test_an_unknown_option_gives_the_nearest(registry):
    with pytest.raises(InputError, match=r"option of shape 'square' 'powr'; did you mean 'power'\?"):
        registry.create("square", {"powr": 1, "side": 1}, in_channels=8)


def test_what_the_surroundings_give_is_no_option(registry):
    with pytest.raises(InputError, match="option of shape 'square' 'in_channels'") as caught:
        registry.create("square", {"in_channels": 1, "side": 1}, in_channels=8)
    assert "(known: power, side)" in str(caught.value)


def test_a_missing_option_says_how_to_set_it(registry):
    with pytest.raises(InputError, match=r"shape 'square' needs side: set shape\.side="):
        registry.create("square", {}, in_channels=8)


def test_all_missing_ones_are_named(registry):
    with pytest.raises(InputError, match="needs in_channels, side"):
        registry.create("square", {})


@pytest.mark.parametrize("wrong", ["high", None, [1.0]], ids=str)
def test_a_value_of_another_kind_is_refused_in_one_line(registry, wrong):
    with pytest.raises(InputError, match=r"power=.* of shape 'square' is wrong") as caught:
        registry.create("square", {"power": wrong, "side": 1}, in_channels=8)
    assert "\n" not in str(caught.value)


def test_values_become_the_kind_that_is_asked_for(registry):
    square = registry.create("square", {"power": 2, "side": "0.5"}, in_channels=8)
    assert (square.power, square.side) == (2.0, 0.5)
    assert isinstance(square.power, float)


def test_options_can_be_checked_without_building(registry):
    assert registry.check("square", {"power": 2}, in_channels=8) == {"power": 2.0}
    with pytest.raises(InputError, match="did you mean 'power'"):
        registry.check("square", {"powr": 2}, in_channels=8)


def test_parts_of_users_may_be_written_any_way(registry):
    """Without annotations, with ones that only a type checker can read, or without a constructor."""

    @registry.register("bare")
    class Bare:
        def __init__(self, in_channels, power=3.0):
            self.power = power

    @registry.register("checked")
    class Checked:
        def __init__(self, in_channels: "NoSuchName", power: "NoSuchName" = 3.0):  # noqa: F821
            self.power = power

    @registry.register("plain")
    class Plain:
        pass

    assert registry.create("bare", {"power": "any"}, in_channels=8).power == "any"
    assert registry.create("checked", {"power": 2.0}, in_channels=8).power == 2.0
    assert isinstance(registry.create("plain", {}, in_channels=8), Plain)


def test_a_class_that_lacks_a_method_names_it_and_its_file(registry):
    class Shape(ABC):
        @abstractmethod
        def forward(self): ...

    @registry.register("circle")
    class Circle(Shape):
        pass

    with pytest.raises(InputError, match=r"shape 'circle' \(\S+test_registry\.py:\S*Circle\) has no forward; define"):
        registry.create("circle", {})


def test_loose_parameters_are_no_options(registry):
    @registry.register("any")
    def any_of(*args, size: int = 1, **kwargs): ...

    for key in ("side", "kwargs"):
        with pytest.raises(InputError, match=rf"option of shape 'any' '{key}'.*\(known: size\)"):
            registry.create("any", {key: 1})


def test_options_are_the_parameters(registry):
    assert list(registry.options("square")) == ["in_channels", "power", "side"]
    assert registry.options("square")["power"].default == 3.0


def test_a_second_part_of_one_name_is_refused_and_both_are_named(registry):
    with pytest.raises(InputError, match=r"two shape parts are called 'square'.*Square.*Other.*rename one"):

        @registry.register("square")
        class Other:
            pass

    assert registry.get("square").__name__ == "Square"


def test_registering_the_same_part_again_is_allowed(registry):
    part = registry.get("square")
    assert registry.register("square")(part) is part


def test_every_module_of_the_package_is_found_without_an_edit(tmp_path, monkeypatch):
    package = tmp_path / "shapes_for_test"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "deep" / "__init__.py").write_text("")
    (package / "parts.py").write_text(
        "from retrieval_bench.settings.registry import Registry\nREGISTRY = Registry('shape', 'shapes_for_test')\n"
    )
    (package / "one.py").write_text(SHAPE.format(package="shapes_for_test", name="one", cls="One"))
    (package / "deep" / "two.py").write_text(SHAPE.format(package="shapes_for_test", name="two", cls="Two"))
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        from shapes_for_test.parts import REGISTRY

        assert REGISTRY.names() == ["one", "two"]
        assert REGISTRY.create("two", {"power": 2.0}, in_channels=5).power == 2.0
    finally:
        for name in [name for name in sys.modules if name.startswith("shapes_for_test")]:
            del sys.modules[name]


def test_a_built_in_module_that_fails_keeps_failing_with_its_own_error(tmp_path, monkeypatch):
    package = tmp_path / "broken_for_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "broken.py").write_text("raise RuntimeError('no such library')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry("shape", "broken_for_test")
    try:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no such library"):
                registry.names()
    finally:
        for name in [name for name in sys.modules if name.startswith("broken_for_test")]:
            del sys.modules[name]
