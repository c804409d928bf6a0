"""What every registered method promises; a new one is tested here without an edit.

The checks are those of ``retrieval-bench check method``.
"""

import pytest

import retrieval_bench as rb
from retrieval_bench import contracts
from retrieval_bench.methods.registry import METHODS

METHODS_HERE = rb.list_methods()


@pytest.mark.parametrize("which", contracts.check_names("method"))
@pytest.mark.parametrize("name", METHODS_HERE)
def test_contract(name, which):
    contracts.check("method", name, which)


def test_the_two_first_methods_are_there():
    assert {"gem", "delg"} <= set(METHODS_HERE)


@pytest.mark.parametrize("name", METHODS_HERE)
def test_built_in_methods_have_the_recipe_of_their_authors(name):
    assert {"base", "published"} <= set(METHODS.get(name).recipes)
