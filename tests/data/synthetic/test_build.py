"""Building: equal bytes whatever the number of workers, whole or not at all."""

import json

import pytest

from retrieval_bench.data.synthetic import build as building
from retrieval_bench.data.synthetic.build import build
from retrieval_bench.data.synthetic.dataset import load
from retrieval_bench.data.synthetic.plan import Options, Role, Task, family, imitated, tasks

OPTIONS = Options(
    train_landmarks=2, train_images_per_landmark=2, validation_landmarks=1, validation_images_per_landmark=1,
    test_landmarks=2, queries_per_landmark=1, database_images_per_landmark=2, lookalikes=1, images_per_lookalike=1,
    distractors=2, image_size=80,
)  # fmt: skip


def digests(folder):
    return json.loads((folder / "manifest.json").read_text())["sha256"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("one"), OPTIONS, workers=1)


def test_two_workers_give_the_bytes_of_one(built, tmp_path):
    assert digests(build(tmp_path, OPTIONS, workers=2)) == digests(built)


def test_another_seed_gives_other_images_under_the_same_names(built, tmp_path):
    other = build(tmp_path, Options(**{**vars(OPTIONS), "seed": 1}), workers=1)
    assert other.name != built.name
    ours, theirs = digests(built), digests(other)
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if name.endswith(".jpg") and ours[name] == theirs[name]]


def test_more_landmarks_leave_the_others_alone(built, tmp_path):
    larger = build(tmp_path, Options(**{**vars(OPTIONS), "train_landmarks": 3}), workers=1)
    ours, theirs = digests(built), digests(larger)
    assert all(theirs[name] == ours[name] for name in ours if name.endswith(".jpg"))


def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(options, records):
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "ground_truth", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, OPTIONS, workers=1)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_build_are_no_dataset(built, tmp_path):
    leftover = tmp_path / f"{building.PARTIAL}{OPTIONS.digest()}-x"
    (leftover / "jpg").mkdir(parents=True)
    (leftover / "jpg" / "train_000_00.jpg").write_bytes(b"half")
    folder = build(tmp_path, OPTIONS, workers=1)
    assert digests(folder) == digests(built)
    assert len(load(folder).train) == 4


def test_the_second_of_two_builds_takes_the_first(built, tmp_path, monkeypatch):
    truth = building.ground_truth
    before = {}

    def overtaken(options, records):
        monkeypatch.setattr(building, "ground_truth", truth)
        folder = build(tmp_path, OPTIONS, workers=1)
        before.update({path: path.stat().st_mtime_ns for path in folder.rglob("*")})
        return truth(options, records)

    monkeypatch.setattr(building, "ground_truth", overtaken)
    folder = build(tmp_path, OPTIONS, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_failing_worker_fails_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr(building.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="ended with code 1"):
        build(tmp_path, OPTIONS, workers=2)
    assert not list(tmp_path.iterdir())


def test_families_stay_within_a_split():
    for task in tasks(Options()):
        role, index = family(Options(), task.role, task.index)
        assert role is (Role.TEST if task.role is Role.LOOKALIKE else task.role)
        if task.role is Role.LOOKALIKE:
            assert index == family(Options(), Role.TEST, imitated(Options(), task.index))[1]


@pytest.mark.parametrize("options", [Options(), Options(test_landmarks=3, lookalikes=3)])
def test_lookalikes_imitate_different_test_landmarks(options):
    imitations = [imitated(options, index) for index in range(options.lookalikes)]
    assert len(set(imitations)) == options.lookalikes
    assert max(imitations) < options.test_landmarks


def test_every_distractor_is_planned_once():
    planned = [task for task in tasks(Options(distractors=9)) if task.role is Role.DISTRACTOR]
    assert planned == [Task(Role.DISTRACTOR, 0, 4), Task(Role.DISTRACTOR, 1, 4), Task(Role.DISTRACTOR, 2, 1)]
