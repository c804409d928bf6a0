"""Options that are not the defaults, and where the user's own parts live."""

import hashlib
import sys
from types import ModuleType

import pytest

import retrieval_bench as rb
from retrieval_bench.recording.parts import TYPED_IN, part_options, plugin_files
from retrieval_bench.settings.plugins import load_plugins, module_name
from retrieval_bench.settings.registry import forget
from retrieval_bench.settings.run import RunSettings

OWN = """
from retrieval_bench.pooling import Pooling, register_pooling


@register_pooling("mean_for_record")
class Own(Pooling):
    def __init__(self, in_channels: int, sharpness: float = 1.0):
        super().__init__()
        self.out_channels = in_channels

    def forward(self, feature_map):
        return feature_map.mean(dim=(2, 3))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A plug-in file in the current folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.py"
    file.write_text(OWN)
    load_plugins([file])
    yield file
    forget(module_name(file))


def made(**given):
    """Settings and the model that they ask for."""
    settings = RunSettings.model_validate({"backbone": {"name": "test_resnet"}, "model": {"dim": 16}, **given})
    parts = {kind: getattr(settings, kind).given() for kind in ("backbone", "pooling", "loss")}
    return settings, rb.create_model(settings.method, **parts, **settings.model)


def test_only_options_off_the_default_of_the_part_are_kept():
    found = part_options(*made(loss={"name": "arcface", "margin": 0.3, "scale": 32}))
    assert found == {"method": {"dim": "16"}, "pooling": {"learnable": "false"}, "loss": {"margin": "0.3"}}


def test_every_kind():
    found = part_options(
        *made(
            pooling={"name": "gemp", "p": 5},
            loss={"name": "smoothap", "batch_attention": {"name": "batchformer", "heads": 2}},
            backbone={"name": "test_resnet", "pretrained": False},
            dataset={"name": "synthetic", "distractors": 3},
            rerank={"name": "superglobal", "top_m": 7, "k": 9},
        )
    )
    assert found == {
        "method": {"dim": "16"},
        "dataset": {"distractors": "3"},
        "backbone": {"pretrained": "false"},
        "pooling": {"p": "5"},
        "batch attention": {"heads": "2"},
        "re-ranker": {"top_m": "7"},
    }


def test_a_dimension_that_the_method_derives_is_no_option_that_was_set():
    assert "method" not in part_options(*made(model={}))


def test_an_own_part_is_known_by_its_file_and_what_it_held(own):
    settings, model = made(pooling={"name": "mean_for_record", "sharpness": 2})
    digest = hashlib.sha256(OWN.encode()).hexdigest()
    own.write_text(OWN + "# edited while the run went on\n")
    (kind, file), *others = plugin_files(settings, model).items()
    assert (kind, file.file, file.sha256, others) == ("pooling", "own.py", digest, [])
    assert part_options(settings, model)["pooling"] == {"sharpness": "2"}


def test_a_file_elsewhere_is_named_in_full(own, tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert plugin_files(*made(pooling={"name": "mean_for_record"}))["pooling"].file == str(own)


def test_built_in_parts_have_no_file():
    assert plugin_files(*made(rerank={"name": "superglobal"})) == {}


def test_a_part_that_was_typed_in_says_so(monkeypatch):
    from retrieval_bench.pooling import Pooling, register_pooling

    class Typed(Pooling):
        """Typed in."""

        def __init__(self, in_channels: int):
            super().__init__()
            self.out_channels = in_channels

        def forward(self, feature_map):
            return feature_map.mean(dim=(2, 3))

    monkeypatch.setitem(sys.modules, "typed_in", ModuleType("typed_in"))
    Typed.__module__ = "typed_in"
    register_pooling("typed_for_record")(Typed)
    try:
        file = plugin_files(*made(pooling={"name": "typed_for_record"}))["pooling"]
    finally:
        forget("typed_in")
    assert (file.file, file.sha256) == (TYPED_IN, "")
