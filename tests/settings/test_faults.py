"""A fault in a user's part is traced to its line and to the command that checks the part."""

import sys

import pytest

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.gem import GeM
from retrieval_bench.settings.faults import blamed, fault_of, line_in, registered
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.plugins import load_plugins
from retrieval_bench.settings.registry import forget

TWO = """
from retrieval_bench.losses import register_loss
from retrieval_bench.pooling import register_pooling


def divide(number):
    return number / 0


@register_pooling("first_pool")
class First:
    def __init__(self, deep=False):
        if deep:
            divide(1)
        [one / 0 for one in (1,)]


@register_loss("second_loss")
class Second:
    def forward(self):
        divide(1)


def alone():
    divide(1)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A plug-in with two parts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.py").write_text(TWO)
    before = set(sys.modules)
    load_plugins([tmp_path / "two.py"])
    name = next(name for name in set(sys.modules) - before if name.startswith("retrieval_bench_plugin_two"))
    yield sys.modules[name]
    forget(name)
    del sys.modules[name]


def error_of(call) -> Exception:
    with pytest.raises(ZeroDivisionError) as caught:
        call()
    return caught.value


def test_the_part_whose_code_was_running_is_blamed(module):
    inner = error_of(module.First)
    assert blamed(inner) == "two.py, line 15; see retrieval-bench check pooling first_pool --plugin two.py"
    assert blamed(error_of(module.Second().forward)).endswith(
        "; see retrieval-bench check loss second_loss --plugin two.py"
    )


def test_the_last_line_counts_and_the_part_that_called(module):
    said = blamed(error_of(lambda: module.First(deep=True)))
    assert said == "two.py, line 7; see retrieval-bench check pooling first_pool --plugin two.py"


def test_where_no_part_was_running_the_line_is_told_alone(module):
    assert blamed(error_of(module.alone)) == "two.py, line 7"


def test_faults_elsewhere_blame_nobody(module):
    assert blamed(error_of(lambda: 1 / 0)) == ""


def test_no_files_no_line():
    assert line_in(error_of(lambda: 1 / 0), ()) == ""


def test_a_built_in_part_is_named_with_its_file_and_no_plugin():
    assert fault_of(GeM, "gave nothing") == (
        "pooling 'gem' (gem.py) gave nothing; see retrieval-bench check pooling gem"
    )


def test_what_is_no_part_is_named_by_its_class():
    assert fault_of(int, "gave nothing") == "int gave nothing"
    assert registered(int) is None


@pytest.mark.parametrize("word", KINDS)
def test_the_command_calls_each_kind_by_its_word(word):
    registry = KINDS[word].registry()
    name = registry.names()[0]
    assert registered(registry.get(name)).advice == f"see retrieval-bench check {word} {name}"


def test_parts_of_all_poolings_are_found():
    assert all(registered(POOLINGS.get(name)).name == name for name in POOLINGS.names())
