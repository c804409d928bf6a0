"""Run folders: an interrupted run is found again, a finished one is left alone."""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import retrieval_bench
from retrieval_bench.recording import run_folder
from retrieval_bench.recording.content import Content
from retrieval_bench.recording.part_code import part_code_digest
from retrieval_bench.recording.run_folder import finished_run, open_run, settings_digest
from retrieval_bench.settings.errors import InputError
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
        {"backbone": {"normalisation": "method"}},
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


def test_without_files_a_run_is_known_by_settings_and_code_alone(tmp_path):
    """Runs that were recorded before files counted are found again."""
    given = settings(tmp_path, weights="absent.pth", whitening={"path": "absent.safetensors"})
    known = given.model_dump(
        mode="json", exclude={"runs": True, "title": True, "plugins": True, "runtime": {"workers"}}
    )
    known |= {"parts": part_code_digest(given), "version": retrieval_bench.__version__}
    expected = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]
    assert settings_digest(given) == expected


NAMED = {
    "weights": lambda file: {"weights": file},
    "backbone": lambda file: {"backbone": {"name": "resnet10t", "weights": file}},
    "re-ranker": lambda file: {"rerank": {"name": "mine", "stages": [{"weights": file}]}},
    "whitening": lambda file: {"whitening": {"kind": "file", "path": file}},
}


@pytest.mark.parametrize("named", NAMED.values(), ids=NAMED)
def test_weights_count_by_their_content_and_not_by_their_place(named, tmp_path):
    here, there = tmp_path / "here.pth", tmp_path / "there.pth"
    here.write_text("one")
    there.write_text("one")
    given, moved = settings(tmp_path, **named(str(here))), settings(tmp_path, **named(str(there)))
    before = settings_digest(given)
    assert settings_digest(moved) == before
    there.write_text("two!")
    assert settings_digest(moved) != before
    assert str(here) in given.model_dump_json()  # to name a run leaves the settings as they are
    here.unlink()
    assert settings_digest(given) != before


def test_of_other_files_place_and_content_count(tmp_path):
    """Whether an option is a path nobody knows: two words that happen to be files of one content are two choices."""
    here, there = tmp_path / "here", tmp_path / "there"
    digests = set()
    for file, text in ((here, "one"), (there, "one"), (here, "two!")):
        file.write_text(text)
        digests.add(settings_digest(settings(tmp_path, pooling={"name": "mine", "kind": str(file)})))
    assert len(digests) == 3


def test_the_same_file_in_two_places_of_the_settings_makes_two_runs(tmp_path):
    file = tmp_path / "w.pth"
    file.write_text("one")
    whole = settings(tmp_path, weights=str(file), backbone="resnet10t")
    part = settings(tmp_path, backbone={"name": "resnet10t", "weights": str(file)})
    assert settings_digest(whole) != settings_digest(part)


def test_the_content_of_the_dataset_counts(tmp_path):
    given = settings(tmp_path)
    digests = [settings_digest(given, Content(dataset=one)) for one in (None, "1", "2")]
    assert len(set(digests)) == 3


def test_an_interrupted_run_does_not_go_on_with_other_weights(tmp_path, clock):
    weights = tmp_path / "w.pth"
    weights.write_text("one")
    given = settings(tmp_path / "runs", weights=str(weights))
    folder = start(given)
    weights.write_text("two!")
    other = start(given)
    assert other != folder
    assert start(given) == other
    weights.write_text("one")
    assert start(given) == folder


def test_a_finished_run_is_no_answer_for_other_weights(tmp_path, clock):
    weights = tmp_path / "w.pth"
    weights.write_text("one")
    given = settings(tmp_path / "runs", weights=str(weights))
    folder = finish(start(given))
    assert finished_run(given) == folder
    weights.write_text("two!")
    assert finished_run(given) is None


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/.* cannot be made \(Not a directory\); set runs= to a writable place"):
        start(settings(tmp_path / "file"))
