"""`report` of several run folders, of which some are unfinished; settings without a method."""

from pathlib import Path

import pytest
from tiny_landmarks import TINY, make_landmarks

from retrieval_bench.cli import call, parsed
from retrieval_bench.commands.runs import settings_of
from retrieval_bench.settings.errors import InputError


@pytest.fixture
def finished(tmp_path, monkeypatch, capsys):
    """A finished run and two folders that are none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    root = make_landmarks(tmp_path / "landmarks")
    assert call(["bench", "gem", *TINY, f"dataset.root={root}", "train.enabled=false"]) == 0
    for name in ("begun", "empty"):
        Path(name).mkdir()
    capsys.readouterr()
    return next(Path("runs/folder/gem").iterdir())


def test_unfinished_folders_are_named_and_left_out(finished, capsys):
    assert call(["report", "begun", str(finished), "empty"]) == 0
    told = capsys.readouterr()
    assert "GeM resnet10t" in told.out
    assert told.out.count("report: ") == 1
    assert [line.partition(":")[0] for line in told.err.splitlines()] == ["left out", "left out"]
    assert "no record.json in begun" in told.err
    assert "no record.json in empty" in told.err


def test_the_comparison_of_several_runs_is_kept_where_it_is_asked_for(finished, capsys):
    place = Path("für das Papier")
    assert call(["report", str(finished), "--into", str(place)]) == 2
    assert "name at least two finished ones" in capsys.readouterr().err
    assert call(["report", str(finished), str(finished.absolute()), "--into", str(place)]) == 0
    assert f"comparison: {place / 'report.html'}" in capsys.readouterr().out
    assert {file.name for file in place.iterdir()} == {"report.html", "table.csv", "table.md", "table.tex"}
    assert (place / "table.tex").read_text(encoding="utf-8").count(r" \\") == 4


def test_a_path_with_brackets_is_told_as_it_is(finished, capsys):
    Path("runs [gem]").mkdir()
    finished.rename("runs [gem]/one")
    assert call(["report", "runs [gem]/one"]) == 0
    assert "report: runs [gem]/one/report.html" in capsys.readouterr().out


def test_without_any_finished_folder_it_is_an_error(finished, capsys):
    assert call(["report", "begun", "empty"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "error: none of these 2 folders holds a finished run; name run folders"
    assert len(lines) == 3
    assert call(["report", "begun"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no record.json in begun")


def test_a_file_may_name_the_method(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("method: delg\n")
    arguments = parsed(["bench", "--config", str(file), "seed=3"])
    settings = settings_of(arguments, arguments.method)
    assert (settings.method, settings.seed) == ("delg", 3)
    file.write_text("seed: 1\n")
    with pytest.raises(InputError, match="no METHOD"):
        settings_of(arguments, arguments.method)
