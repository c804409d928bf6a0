"""The runs of a study: ordinary settings, seeds, checkpoints that others start from."""

from pathlib import Path

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.loading import load_settings
from retrieval_bench.studies.definition import study_of
from retrieval_bench.studies.plan import first_runs, plan


def planned(*overrides, **parts):
    return plan(study_of({"name": "tried", **parts}), overrides, {})


def test_a_run_is_the_one_that_bench_makes_of_the_same_settings(tmp_path):
    (tmp_path / "mine.py").write_text("")
    found = planned(
        "train.epochs=2",
        settings={"method": "delg", "rerank": None, "loss.margin": 0.2},
        grid={"pooling": ["mac", {"name": "gem", "p": 4}]},
        seeds=[0, 7],
        plugins=[str(tmp_path / "mine.py")],
    )
    words = ["method=delg", "rerank=none", "loss.margin=0.2", "pooling=gem", "pooling.p=4", "train.epochs=2", "seed=7"]
    same = load_settings(words)
    same.plugins = [tmp_path / "mine.py"]
    assert [run.name for run in found.runs] == [
        "mac, seed 0",
        "mac, seed 7",
        "gem p=4, seed 0",
        "gem p=4, seed 7",
    ]
    assert found.runs[3].settings == same
    assert [run.row for run in found.runs] == [0, 0, 1, 1]
    assert found.of_row(1) == found.runs[2:]


def test_what_the_rows_set_goes_over_what_is_common_and_the_command_line_over_all():
    found = planned("model.dim=8", settings={"train.epochs": 1, "model.dim": 4}, grid={"train.epochs": [2]})
    assert found.runs[0].settings.train.epochs == 2
    assert found.runs[0].settings.model["dim"] == 8


def test_the_option_of_a_part_is_laid_over_its_name_in_any_order():
    found = planned(grid={"pooling.p": [2, 3], "pooling": ["gem", "gemp"]})
    assert [run.settings.pooling.given() for run in found.runs] == [
        {"name": "gem", "p": 2},
        {"name": "gemp", "p": 2},
        {"name": "gem", "p": 3},
        {"name": "gemp", "p": 3},
    ]


@pytest.mark.parametrize(
    ("overrides", "parts", "says"),
    [
        (("pooling=gem",), {}, "would make all rows of grid 'pooling' the same"),
        (("seed=3",), {}, "change seeds: there"),
        (("trian.epochs=3",), {}, "did you mean 'train'"),
        ((), {"settings": {"train.epocs": 3}}, "study 'tried', gem: unknown setting 'train.epocs'"),
        ((), {"include": [{"name": "twin", "pooling": "gem"}]}, "'gem' and 'gem, twin' have the same settings"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(overrides, parts, says):
    with pytest.raises(InputError) as refused:
        planned(*overrides, **{"grid": {"pooling": ["gem", "mac"]}, **parts})
    assert says in str(refused.value)


STARTED = {
    "settings": {"backbone": {"name": "resnet10t", "weights": "trained:start"}},
    "grid": {"pooling": ["gem", "mac"]},
    "trained": {"start": {"method": "gem", "train.epochs": 3}, "unused": {"method": "delg"}},
}


def test_runs_start_from_the_checkpoint_of_another():
    study = study_of({"name": "tried", **STARTED})
    first = first_runs(study, ["train.batch_size=4"])
    assert list(first) == ["start"]
    assert (first["start"].settings.train.epochs, first["start"].settings.train.batch_size) == (3, 4)
    found = plan(study, [], {"start": Path("runs/a/final.ckpt")})
    assert {run.settings.backbone.options["weights"] for run in found.runs} == {"runs/a/final.ckpt"}


def test_other_weights_spare_the_first_run():
    assert first_runs(study_of({"name": "tried", **STARTED}), ["backbone.weights=mine.ckpt"]) == {}


def test_an_unknown_first_run_is_named():
    with pytest.raises(InputError, match="did you mean 'start'"):
        first_runs(study_of({"name": "t", **STARTED, "settings": {"weights": "trained:strat"}}), [])


def test_a_run_waits_until_what_it_starts_from_is_there():
    study = study_of({"name": "tried", **STARTED})
    assert [run.waits_for for run in plan(study, [], {}).runs] == ["start", "start"]
    assert [run.waits_for for run in plan(study, [], {"start": Path("final.ckpt")}).runs] == [None, None]


def test_what_a_run_is_called_is_settled_by_the_checkpoint_that_it_starts_from(tmp_path):
    study = study_of({"name": "tried", **STARTED})
    here, there = tmp_path / "here.ckpt", tmp_path / "there.ckpt"
    here.write_text("one")
    there.write_text("one")

    def called(file: Path) -> list[str]:
        return [run.digest for run in plan(study, [], {"start": file}).runs]

    before = called(here)
    assert len(set(before)) == 2
    assert called(there) == before
    here.write_text("two!")
    assert not set(called(here)) & set(before)


def test_rows_whose_weight_files_hold_the_same_are_one_row(tmp_path):
    files = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for file in files:
        file.write_text("one")
    with pytest.raises(InputError, match="or weight files of the same content"):
        planned(grid={"weights": [str(file) for file in files]})
    files[1].write_text("two!")
    assert len(planned(grid={"weights": [str(file) for file in files]}).runs) == 2


def test_a_dataset_that_the_rows_share_is_loaded_once_and_its_content_counts(tmp_path, monkeypatch):
    loaded = []
    registry = KINDS["dataset"].registry()
    real = registry.create
    monkeypatch.setattr(registry, "create", lambda *given, **more: loaded.append(given) or real(*given, **more))
    for label, number in (("a", 0), ("a", 1), ("b", 2)):
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / f"{number}.png").write_bytes(bytes(number))
    parts = {
        "settings": {"dataset": {"name": "folder", "root": str(tmp_path)}},
        "grid": {"pooling": ["gem", "mac"]},
        "seeds": [0, 1],
    }
    before = {run.digest for run in planned(**parts).runs}
    assert len(before) == 4
    assert len(loaded) == 1
    (tmp_path / "b" / "3.png").write_bytes(b"")
    assert not {run.digest for run in planned(**parts).runs} & before
