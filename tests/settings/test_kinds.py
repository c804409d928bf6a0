"""Every kind of part is where the table says."""

from pathlib import Path

import pytest

import retrieval_bench
from retrieval_bench.settings.kinds import KINDS


@pytest.mark.parametrize("name", KINDS)
def test_the_registry_is_of_that_room(name):
    kind = KINDS[name]
    registry = kind.registry()
    assert registry.package == f"retrieval_bench.{kind.room}"
    assert (Path(retrieval_bench.__file__).parent / kind.room).is_dir()
    assert registry.names()


def test_what_the_surroundings_give_is_no_option():
    assert list(KINDS["pooling"].options("gem")) == ["p", "eps", "learnable"]
    assert "root" not in KINDS["dataset"].options("folder")
