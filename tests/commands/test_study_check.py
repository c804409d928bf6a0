"""What a study refuses before its first run begins, leaves out if told to, and does not look at twice."""

import csv
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from tiny_landmarks import TINY, TRAINED, make_landmarks

from retrieval_bench.cli import call
from retrieval_bench.commands import study_check

check_module = import_module("retrieval_bench.running.check")

GRID = {"pooling": ["gem", "cls", "mac"], "backbone": ["resnet10t", "test_vit"]}


@pytest.fixture
def study(tmp_path, monkeypatch, capsys):
    """Runs a study of given parts on tiny landmarks in a folder of its own; returns code and what was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(study_check, "PATIENCE", 600.0)
    root = make_landmarks(tmp_path / "landmarks")

    def called(*words: str, settings: tuple[str, ...] = TRAINED, **parts: object) -> tuple[int, str, str]:
        given = dict(word.split("=", 1) for word in (*TINY, *settings) if not word.startswith("backbone="))
        common = {**{key: yaml.safe_load(value) for key, value in given.items()}, "dataset.root": str(root)}
        common["runtime.accelerator"] = "cpu"
        common |= parts.pop("settings_too", {})
        Path("tried.yaml").write_text(yaml.safe_dump({"settings": common, **parts}, sort_keys=False))
        code = call(["study", "tried.yaml", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return called


def runs() -> list[Path]:
    return sorted(Path("runs").glob("folder/*/*"))


def test_rows_that_cannot_be_made_are_refused_by_reason_before_anything_runs(study):
    grid = {**GRID, "train.batch_size": [4, 1]}
    code, _, told = study(grid=grid, settings=(*TRAINED, "train.sampler=class-balanced"), seeds=[0, 1])
    assert code == 2
    first, *lines = told.splitlines()
    assert first.startswith(
        "error: study 'tried': 7 of 12 rows cannot be made; mend or exclude them, or write skip_mis"
    )
    assert [line.partition(" does not fit")[0].partition(" is less")[0] for line in lines] == [
        "  5 rows (gem, resnet10t, 1; gem, test_vit, 1; cls, test_vit, 1; mac, resnet10t, 1; mac, test_vit, 1): "
        "train.batch_size=1",
        "  2 rows (cls, resnet10t, 4; cls, resnet10t, 1): pooling 'cls'",
    ]
    assert runs() == []


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"grid": {"pooling.pp": [1, 2]}}, "unknown option of pooling"),
        ({"grid": {"search.k": [5, 100]}}, "1 row (100): search.k=100 is larger than the database"),
        ({"grid": {"whitening.kind": ["none", "file"]}}, "1 row (file): whitening.kind=file needs whitening.path"),
        ({"grid": {"loss": ["arcface", "adacos"]}}, "1 row (adacos): loss adacos needs at least 3 classes"),
        ({"grid": {"rerank": ["none", "geometric"]}}, "1 row (geometric): re-ranker 'geometric' compares local"),
        ({"grid": {"train.recipe": ["base", "bse"]}}, "1 row (bse): unknown recipe 'bse'"),
        ({"grid": {"pooling": ["gem", "mac"]}, "settings_too": {"dataset.csv": "no.csv"}}, "error: study 'tried': "),
        (
            {
                "grid": {"train.sampler": ["shuffle", "hard-tuples"], "train.tuple_size": [16]},
                "settings_too": {"train.batch_size": 16},
            },
            "1 row (hard-tuples, 16): no tuple of 16 can be made",
        ),
        (
            {"grid": {"backbone": [{"name": "resnet10t"}, {"name": "resnet10t", "weights": "landmarks/0.png"}]}},
            "1 row (resnet10t weights=landmarks/0.png): ",
        ),
        (
            {
                "grid": {"pooling": ["gem", {"name": "gem", "pp": 3}], "train.epochs": [1]},
                "settings_too": {"weights": "trained:start"},
                "trained": {"start": {"dataset": {"name": "folder", "root": "landmarks", "csv": "table.csv"}}},
            },
            "1 row (gem pp=3, 1): unknown option of pooling 'gem' 'pp'",
        ),
        (
            {
                "grid": {"pooling": ["gem", "mac"]},
                "settings_too": {"backbone.weights": "trained:start"},
                "trained": {
                    "start": {"dataset": {"name": "folder", "root": "landmarks", "csv": "table.csv"}, "search.k": 100}
                },
            },
            "error: trained: start: search.k=100 is larger",
        ),
    ],
)
def test_every_kind_of_misfit_is_found(study, parts, says):
    settings = {"backbone": "resnet10t", **parts.pop("settings_too", {})}
    code, _, told = study(**{**parts, "settings_too": settings})
    assert code == 2
    assert says in told
    assert runs() == []


def test_a_dry_run_lists_what_cannot_be_made(study):
    code, shown, told = study("--dry-run", grid=GRID)
    assert code == 2
    assert "5 runs to make" in shown
    assert "cannot be made: pooling 'cls' does not fit" in shown
    assert "1 of 6 rows cannot be made" in told
    assert study("--dry-run", "--skip-misfits", grid=GRID)[0] == 0
    assert not Path("runs").exists()


def test_misfits_are_left_out_and_named_where_that_is_asked_for(study):
    grid = {"pooling": ["cls", "gem"]}
    floor = {"train.enabled": False, "backbone": "resnet10t"}
    code, shown, _ = study(grid=grid, settings=(), settings_too=floor, skip_misfits=True, seeds=[0, 1])
    assert code == 0
    assert len(runs()) == 2
    assert "Left out: cls: pooling 'cls' does not fit" in shown.replace("\n", " ")
    folder = Path("runs/studies/tried")
    with (folder / "table.csv").open() as file:
        assert [row["pooling"] for row in csv.DictReader(file)] == ["gem"]
    for name in ("table.md", "table.tex", "report.html"):
        assert "Left out: cls" in (folder / name).read_text()
    # Where nothing is left, going on would hide the reason.
    assert study(grid={"pooling": ["cls"]}, settings=(), settings_too=floor, skip_misfits=True)[0] == 2


def test_recorded_runs_are_not_checked_and_what_rows_share_is_looked_at_once(study, monkeypatch):
    floor = {"train.enabled": False, "backbone": "resnet10t"}
    assert study(grid={"pooling": ["gem"]}, settings=(), settings_too=floor)[0] == 0
    looked: dict[str, list[object]] = {"model": [], "dataset": [], "rows": []}
    build, load, reason = check_module.options_model, check_module.load_dataset, check_module.Checks.before_data
    monkeypatch.setattr(check_module, "options_model", lambda *given: looked["model"].append(given) or build(*given))
    monkeypatch.setattr(
        check_module, "load_dataset", lambda *given, **more: looked["dataset"].append(given) or load(*given, **more)
    )
    monkeypatch.setattr(
        check_module.Checks,
        "before_data",
        lambda self, settings: looked["rows"].append(settings.pooling.name) or reason(self, settings),
    )
    grid = {"search.k": [3, 4, 5, 6], "pooling": ["gem", "mac"]}
    include = [{"name": "made", "pooling": "gem"}]
    assert study("--dry-run", grid=grid, include=include, settings=(), settings_too=floor, seeds=[0, 1])[0] == 0
    assert len(looked["dataset"]) == 1
    # Per pooling: once as it is, and the one loss for the true number of classes.
    assert len(looked["model"]) == 3
    # Eight rows, each with and without the data; of the row that is recorded only seed 1 is missing.
    assert sorted(looked["rows"]) == ["gem"] * 10 + ["mac"] * 8


@pytest.mark.parametrize("patience", [0.0, 60.0])
def test_checks_that_take_long_are_told(study, monkeypatch, patience):
    monkeypatch.setattr(study_check, "PATIENCE", patience)
    _, _, told = study("--dry-run", grid=GRID)
    assert ("check the runs before the first begins" in told) == (patience == 0)
