"""Run folders: an interrupted run is found again, a finished one is left alone."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retrieval_bench.recording import run_folder
from retrieval_bench.recording.run_folder import finished_run, open_run, settings_digest
from retrieval_bench.settings.loading import layered, load_settings
from retrieval_bench.settings.run import RunSettings


def settings(tmp_path: Path, **given) -> RunSettings:
    return layered({"method": "gem", "runs": str(tmp_path), **given})


@pytest.fixture
def clock(monkeypatch):
    """Time that moves on by a second at every look."""

    class Clock(datetime):
        ticks = 0

        @classmethod
        def now(cls, tz=None):
            cls.ticks += 1
            return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=cls.ticks)

    monkeypatch.setattr(run_folder, "datetime", Clock)


def start(given: RunSettings) -> Path:
    return open_run(given, given)


def finish(folder: Path) -> Path:
    (folder / "record.json").write_text("{}")
    return folder


def test_a_new_run_has_a_folder_with_its_settings(tmp_path):
    given = settings(tmp_path, seed=3)
    resolved = given.model_copy(update={"model": {"dim": 512}})
    folder = open_run(given, resolved)
    assert folder.parent == tmp_path / "synthetic" / "gem"
    assert re.fullmatch(rf"\d{{8}}-\d{{6}}-{settings_digest(given)}", folder.name)
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
    assert load_settings(config=folder / "config.yaml") == resolved


def test_an_unfinished_run_is_found_again(tmp_path, clock):
    folder = start(settings(tmp_path))
    (folder / "history.json").write_text("[]")
    assert start(settings(tmp_path)) == folder


def test_a_finished_one_is_left_alone(tmp_path, clock):
    first = finish(start(settings(tmp_path)))
    second = start(settings(tmp_path))
    assert second != first
    assert start(settings(tmp_path)) == second


def test_other_settings_have_a_folder_of_their_own(tmp_path, clock):
    assert start(settings(tmp_path)) != start(settings(tmp_path, seed=1))


def test_the_latest_finished_run(tmp_path, clock):
    given = settings(tmp_path)
    assert finished_run(given) is None
    start(given)
    assert finished_run(given) is None
    finish(start(given))
    last = finish(start(given))
    start(given)
    assert finished_run(given) == last
    assert finished_run(settings(tmp_path, seed=1)) is None


@pytest.mark.parametrize(
    "given", [{"title": "mine"}, {"runs": "elsewhere"}, {"runtime": {"workers": 3}}], ids=["title", "runs", "workers"]
)
def test_what_does_not_decide_figures_is_not_in_the_digest(tmp_path, given):
    assert settings_digest(settings(tmp_path, **given)) == settings_digest(settings(tmp_path))


@pytest.mark.parametrize(
    "given",
    [
        {"method": "delg"},
        {"seed": 1},
        {"pooling": "mac"},
        {"pooling": {"p": 4}},
        {"train": {"lr": 0.5}},
        {"dataset": {"name": "synthetic", "seed": 9}},
        {"weights": "some.pth"},
        {"extract": {"scales": [1.0]}},
        {"search": {"k": 5}},
        {"runtime": {"precision": "bf16-mixed"}},
    ],
    ids=str,
)
def test_everything_else_is(tmp_path, given):
    assert settings_digest(settings(tmp_path, **given)) != settings_digest(settings(tmp_path))


def test_another_version_starts_anew(tmp_path, monkeypatch):
    before = settings_digest(settings(tmp_path))
    monkeypatch.setattr("retrieval_bench.__version__", "999")
    assert settings_digest(settings(tmp_path)) != before


def test_a_folder_killed_before_its_settings_were_written_still_gets_them(tmp_path, monkeypatch):
    real = Path.replace
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        start(settings(tmp_path))
    monkeypatch.setattr(Path, "replace", real)
    assert (start(settings(tmp_path)) / "config.yaml").is_file()
