"""``check``: a table, and an exit code that says whether all is well."""

from pathlib import Path

import pytest

from retrieval_bench import contracts
from retrieval_bench.cli import call
from retrieval_bench.pooling import POOLINGS

PART = '''
"""A pooling of the user's own."""

from retrieval_bench.pooling import Pooling, register_pooling


@register_pooling("{name}")
class Own(Pooling):
    """The mean over positions."""

    def __init__(self, in_channels: int, factor: float = 1.0):
        super().__init__()
        self.out_channels = in_channels
        self.factor = factor

    def forward(self, feature_map):
        return {body}
'''


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    names = []

    def plugin(name: str, body: str) -> Path:
        names.append(name)
        file = tmp_path / f"{name}.py"
        file.write_text(PART.format(name=name, body=body))
        return file

    yield plugin
    for name in names:
        POOLINGS._parts.pop(name, None)


RIGHT = "self.factor * feature_map.float().mean(dim=(2, 3)).to(feature_map.dtype)"


def test_a_part_of_ones_own_that_is_right(write, capsys):
    file = write("mean_for_check", RIGHT)
    assert call(["check", "pooling", "mean_for_check", "--fast", "--plugin", str(file), "factor=2"]) == 0
    shown = capsys.readouterr().out
    for which in contracts.check_names("pooling"):
        assert which in shown
    assert "FAILED" not in shown
    assert f"{len(contracts.check_names('pooling'))} checks passed" in shown
    assert "--fast left out: inductor, onnx" in shown


def test_a_part_that_is_wrong(write, capsys):
    file = write("leak_for_check", f"{RIGHT} - feature_map.mean()")
    assert call(["check", "pooling", "leak_for_check", "--fast", "--plugin", str(file)]) == 1
    captured = capsys.readouterr()
    assert "FAILED" in captured.out
    assert "one image in a batch of 4 and alone (no statistics over the batch): they differ by" in captured.out
    assert "checks of pooling 'leak_for_check': " in captured.err
    assert "batch-independence" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pooling", "gme"], "did you mean 'gem'"),
        (["pooling", "gem", "pp=3"], "did you mean 'p'"),
        (["pooling", "gem", "p=high"], "p='high'"),
        (["pooling", "gem", "p"], "key=value"),
        (["pooling", "gem", "--plugin", "nowhere.py"], "no plug-in file at nowhere.py"),
    ],
)
def test_a_wrong_input_is_exit_code_2(words, says, capsys):
    assert call(["check", *words]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert errors[-1].startswith("error: ")
    assert says in errors[-1]


def test_a_reason_is_told_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("RETRIEVAL_BENCH_DATA", raising=False)
    assert call(["check", "dataset", "roxford5k"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("it cannot be checked without its files") == 1
    assert shown.count("for the same reason as builds") >= 5


def test_what_is_left_out_is_told(capsys):
    assert call(["check", "loss", "triplet"]) == 0
    shown = capsys.readouterr().out
    assert "skipped" in shown
    assert "it has no classes" in shown
    assert f"{len(contracts.check_names('loss')) - 1} checks passed, 1 skipped" in shown
