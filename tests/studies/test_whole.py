"""One study of real runs, from the command line to the table."""

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from retrieval_bench.cli import call
from retrieval_bench.settings.places import config_folder
from retrieval_bench.studies.definition import read_study
from retrieval_bench.studies.running import Asked


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in ("bridge", "tower"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(2):
            pixels = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / label / f"{number}.png")
    values = {
        "settings": {
            "dataset": {"name": "folder", "root": "pictures"},
            "backbone": "resnet10t",
            "model.dim": 16,
            "train.enabled": False,
            "extract.image_size": 32,
            "runtime": {"workers": 0, "accelerator": "cpu"},
        },
        "grid": {"pooling": ["gem", "mac"]},
    }
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(values))
    return tmp_path


def test_from_the_command_line_to_the_table(study, capsys):
    assert call(["study", "two.yaml", "--dry-run"]) == 0
    assert "2 runs to make" in capsys.readouterr().out
    assert not (study / "runs").exists()
    assert call(["study", "two.yaml", "--workers", "2"]) == 0
    said = capsys.readouterr()
    assert "[2/2] done" in said.err
    assert "report: runs/studies/two/report.html" in said.out
    assert "Traceback" not in said.err + said.out
    # A run by hand is the same run: nothing is left to do.
    words = ["dataset=folder", "dataset.root=pictures", "backbone=resnet10t", "model.dim=16", "train.enabled=false"]
    more = ["extract.image_size=32", "runtime.accelerator=cpu", "runtime.workers=0"]
    from retrieval_bench.recording.run_folder import finished_run
    from retrieval_bench.settings.loading import load_settings

    folder = finished_run(load_settings(["method=gem", *words, *more, "pooling=mac"]))
    assert folder is not None
    assert {"log.txt", "report.html", "record.json"} <= {path.name for path in folder.iterdir()}
    assert call(["report", str(folder)]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere.yaml"], "no study file at nowhere.yaml"),
        (["two.yaml", "pooling=gem"], "would make all rows of grid 'pooling' the same"),
        (["two.yaml", "loss=arcfase"], "did you mean 'arcface'"),
        (["two.yaml", "--workers", "0"], "--workers 0"),
    ],
)
def test_wrong_input_is_exit_code_2_and_runs_nothing(study, words, says, capsys):
    assert call(["study", *words]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert not list(study.glob("runs/folder/*/*"))


def test_what_waits_for_a_first_run_is_listed_so(study, capsys):
    values = yaml.safe_load((study / "two.yaml").read_text())
    values["settings"]["backbone"] = {"name": "resnet10t", "weights": "trained:start"}
    values["trained"] = {"start": {"method": "gem"}}
    (study / "two.yaml").write_text(yaml.safe_dump(values))
    assert call(["study", "two.yaml", "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "3 runs to make" in said
    assert said.count("to be made after trained: start") == 2


def test_failed_runs_are_exit_code_1(study, capsys, monkeypatch):
    import sys

    from retrieval_bench.studies import conduct

    monkeypatch.setattr(conduct, "command", lambda config: [sys.executable, "-c", "raise SystemExit('no luck')"])
    assert call(["study", "two.yaml"]) == 1
    said = capsys.readouterr().err
    assert "gem, seed 0: it ended with code 1; its last line: no luck" in said
    assert "2 of 2 runs; the same command tries them again" in said


def test_an_interruption_is_one_line(study, capsys, monkeypatch):
    from retrieval_bench.studies import conduct

    def interrupted(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(conduct, "command", interrupted)
    assert call(["study", "two.yaml"]) == 130
    assert capsys.readouterr().err == "interrupted: the same command goes on where it stopped\n"


@pytest.mark.parametrize("file", sorted((config_folder() / "studies").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_studies_that_come_with_the_package_are_sound(file):
    from retrieval_bench.commands.study_check import StudyCheck

    asked = Asked(read_study(file), ["dataset.root=nowhere"])
    planned = asked.plan()
    assert StudyCheck(Console(quiet=True), dry=True)(asked.first(), planned) == {}
    # A study compares; that of poolings is meant to cover most of what is there.
    assert len(planned.rows) >= (10 if file.stem == "poolings" else 2)
    assert len(planned.runs) == 3 * len(planned.rows)
