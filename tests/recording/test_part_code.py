"""The code of its parts belongs to a run: an edited part is another run, an edit elsewhere is not."""

import sys
from pathlib import Path

import pytest

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.recording.part_code import part_code_digest, used_parts
from retrieval_bench.settings import imports
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import layered

PART = '''
from retrieval_bench.pooling import Pooling, register_pooling


@register_pooling("{name}")
class Mine(Pooling):
    """{doc}"""

    def __init__(self, in_channels: int):
        super().__init__()
        self.out_channels = in_channels

    def forward(self, feature_map):
        return {gain} * feature_map.mean(dim=(2, 3))
'''


@pytest.fixture(autouse=True)
def forget():
    """Take back what a test registers."""
    POOLINGS.names()
    parts, modules = dict(POOLINGS._parts), set(sys.modules)
    yield
    POOLINGS._parts = parts
    for name in set(sys.modules) - modules:
        if name.startswith("retrieval_bench_plugin_"):
            del sys.modules[name]


def write(path: Path, name: str = "mine", gain: float = 1.0, doc: str = "Mine.") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PART.format(name=name, gain=gain, doc=doc))
    return path


def digest(*files: Path, pooling: str | None = "mine", **more) -> str:
    return part_code_digest(layered({"pooling": pooling, "plugins": [str(file) for file in files], **more}))


def test_an_edited_part_counts(tmp_path):
    before = digest(write(tmp_path / "a.py"))
    assert digest(write(tmp_path / "a.py", gain=2.0)) != before
    assert digest(write(tmp_path / "a.py")) == before


def test_comments_and_docstrings_do_not(tmp_path):
    before = digest(write(tmp_path / "a.py"))
    assert digest(write(tmp_path / "a.py", doc="Mine, and well told.")) == before


def test_where_the_file_lies_does_not(tmp_path):
    here = write(tmp_path / "a.py")
    before = digest(here)
    POOLINGS.drop(POOLINGS.get("mine").__module__)
    assert digest(write(tmp_path / "elsewhere" / "b.py")) == before


def test_a_plugin_that_the_run_does_not_use_does_not(tmp_path):
    one, other = write(tmp_path / "a.py"), write(tmp_path / "b.py", name="other")
    before = digest(one, other)
    assert digest(one, write(other, name="other", gain=3.0)) == before
    assert digest(one) == before


def test_a_plugin_that_fails_is_named(tmp_path):
    (tmp_path / "a.py").write_text("1 / 0\n")
    with pytest.raises(InputError, match=r"a\.py failed to import"):
        digest(tmp_path / "a.py")


def test_the_parts_that_a_method_names_count():
    parts = {part.__module__ for part in used_parts(layered({"method": "delg"}))}
    assert {"retrieval_bench.methods.delg.module", "retrieval_bench.pooling.gem"} <= parts
    assert "retrieval_bench.losses.arcface" in parts
    assert "retrieval_bench.data.synthetic.dataset" in parts
    assert "retrieval_bench.pooling.mac" not in parts


def test_the_parts_that_an_extended_method_names_count():
    parts = {part.__module__ for part in used_parts(layered({"method": "superglobal"}))}
    assert {"retrieval_bench.methods.superglobal.module", "retrieval_bench.losses.curricularface"} <= parts


def test_named_parts_take_the_place_of_the_methods_own():
    given = {"method": "delg", "pooling": "mac", "rerank": "superglobal"}
    parts = {part.__module__ for part in used_parts(layered(given))}
    assert "retrieval_bench.pooling.mac" in parts
    assert "retrieval_bench.pooling.gem" not in parts
    assert "retrieval_bench.reranking.superglobal" in parts
    assert "retrieval_bench.methods.superglobal.module" not in parts


def test_batch_attention_counts():
    given = {"loss": {"name": "arcface", "batch_attention": {"name": "batchformer"}}}
    parts = {part.__module__ for part in used_parts(layered(given))}
    assert "retrieval_bench.batch_attention.batchformer" in parts


@pytest.mark.parametrize(("edited", "counts"), [("mac", True), ("rgem", False)])
def test_of_built_in_poolings_the_one_in_use_counts(edited, counts, monkeypatch):
    before = digest(pooling="mac")
    real = imports._read

    def changed(file):
        found = real(file)
        return (found[0], "other code", found[2]) if file.name == f"{edited}.py" else found

    monkeypatch.setattr(imports, "_read", changed)
    assert (digest(pooling="mac") != before) == counts


def test_names_that_there_are_not_are_left_to_the_run():
    assert digest(pooling="no_such_pooling") == digest(pooling="no_such_other_pooling")
