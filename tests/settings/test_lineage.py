from pathlib import Path

import pytest

from retrieval_bench.settings.lineage import lineage_of
from retrieval_bench.settings.loading import layered
from retrieval_bench.settings.registry import forget

PLUGIN = """
from retrieval_bench.methods import register_method
from retrieval_bench.methods.cfcd.module import Cfcd


@register_method("my_cfcd")
class MyCfcd(Cfcd):
    '''Another head on CFCD.'''


@register_method("my_second_cfcd")
class MySecondCfcd(MyCfcd):
    '''And another on that.'''
"""


@pytest.fixture
def plugin(tmp_path: Path):
    file = tmp_path / "own_methods.py"
    file.write_text(PLUGIN)
    yield file
    from retrieval_bench.settings.plugins import module_name

    forget(module_name(file))


def test_a_method_comes_before_those_that_it_extends(plugin):
    assert list(lineage_of("my_second_cfcd", [plugin])) == ["my_second_cfcd", "my_cfcd", "cfcd"]
    assert list(lineage_of("cfcd")) == ["cfcd"]
    assert list(lineage_of("no_such_method")) == ["no_such_method"]


def test_a_plug_in_that_fails_is_told_by_what_needs_it(tmp_path):
    assert list(lineage_of("mine", [tmp_path / "missing.py"])) == ["mine"]


def test_a_method_has_the_presets_of_the_method_that_it_extends(plugin):
    theirs = layered({"method": "cfcd"})
    named = layered({"method": "my_second_cfcd", "plugins": str(plugin)})
    beside = layered({"method": "my_second_cfcd"}, [plugin])
    for mine in (named, beside):
        assert mine.method == "my_second_cfcd"
        assert mine.loss == theirs.loss
        assert mine.loss.name == "madacos"
        assert mine.train == theirs.train


def test_what_is_set_comes_after_the_presets_of_another(plugin):
    assert layered({"method": "my_cfcd", "loss": "arcface"}, [plugin]).loss.name == "arcface"
