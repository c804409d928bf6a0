"""`compare`: what is refused before anything runs, rows with settings of their own, and a run that fails midway."""

import subprocess
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from tiny_landmarks import TINY, TRAINED, make_landmarks

from retrieval_bench.cli import call
from retrieval_bench.settings.loading import load_settings

# The package's `bench` is the function.
bench_module = import_module("retrieval_bench.bench")
check_module = import_module("retrieval_bench.running.check")


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys):
    """Compares on tiny landmarks in a folder of its own; returns exit code, table and what was told meanwhile."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    root = make_landmarks(tmp_path / "landmarks")

    def called(methods: str, *words: str) -> tuple[int, str, str]:
        code = call(["compare", "--methods", methods, *TINY, f"dataset.root={root}", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return called


def runs() -> list[Path]:
    return sorted(Path("runs").glob("folder/*/*"))


@pytest.mark.parametrize(
    ("methods", "words", "says"),
    [
        ("gem nosuchmethod", (), "error: nosuchmethod: unknown method 'nosuchmethod'"),
        ("gem gem:pooling=gme", (), "error: gem:pooling=gme: unknown pooling 'gme'; did you mean 'gem'?"),
        ("gem gem:pooling.pp=3", (), "error: gem:pooling.pp=3: "),
        ("gem gem:train.epocs=3", (), "error: gem:train.epocs=3: unknown setting 'train.epocs'"),
        ("gem gem:loss=arcfase", (), "error: gem:loss=arcfase: unknown loss"),
        ("gem gem:model.dims=3", (), "did you mean 'dim'"),
        ("gem gem:rerank=geometric", (), "error: gem:rerank=geometric: re-ranker 'geometric' compares local features"),
        ("gem gem:train.recipe=bse", (), "unknown recipe 'bse'"),
        ("gem gem:search.k=100", (), "larger than the database"),
        ("gem gem:whitening.kind=file", (), "whitening.kind=file needs whitening.path=FILE"),
        ("gem gem:weights=nowhere.pth", (), "no weight file at nowhere.pth"),
        ("gem gem:dataset.csv=none.csv", (), "none.csv"),
        (
            "gem cfcd",
            ("train.batch_size=4",),
            "error: cfcd: train.batch_size=4 is less than one group of 8 images of the",
        ),
        (
            "gem gem:train.sampler=hard-tuples,train.tuple_size=16,train.batch_size=16",
            (),
            "no tuple of 16 can be made of these training images",
        ),
        ("gem gem:seed=0", (), "error: gem:seed=0: it has the same settings as gem; take one out"),
        ("gem gem", (), "error: --methods names gem twice"),
        ("gem gem:", (), "error: 'gem:' is no entry of --methods"),
    ],
)
def test_nothing_runs_before_everything_is_checked(compare, methods, words, says):
    code, _, told = compare(methods, *(TRAINED if not words else ()), *words)
    assert code == 2
    assert says in told.splitlines()[-1]
    assert runs() == []


def test_a_dataset_is_loaded_once_for_all_checks(compare, monkeypatch):
    loaded, load = [], check_module.load_dataset
    monkeypatch.setattr(
        check_module, "load_dataset", lambda *names, **options: loaded.append(1) or load(*names, **options)
    )
    assert compare("gem gem:pooling=mac gem:search.k=100", *TRAINED)[0] == 2
    assert len(loaded) == 1


def test_rows_with_settings_of_their_own_are_told_apart(compare):
    floor = ("train.enabled=false", "pooling=rgem", "pooling.p=2")
    code, shown, _ = compare("gem gem:pooling=gem gem:pooling.p=5 gem:extract.scales=[1,0.5],title=Mine", *floor)
    assert code == 0
    assert len(runs()) == 4
    lines = shown.splitlines()
    # Its own pooling has none of the common pooling's options.
    for title in (
        "GeM resnet10t, pooling rgem (p=2) (!)",
        "GeM resnet10t, pooling gem (!)",
        "GeM resnet10t, pooling rgem (p=5) (!)",
        "Mine (a !)",
    ):
        assert sum(line.startswith(f"{title} ") for line in lines) == 1
    exponents = Counter(load_settings(config=folder / "config.yaml").pooling.options["p"] for folder in runs())
    assert exponents == {2: 2, 5: 1, 3: 1}
    (page,) = Path("runs/comparisons").glob("*/report.html")
    assert lines[-1] == f"report: {page}"
    assert "Mine" in page.read_text(encoding="utf-8")


def test_finished_runs_are_not_made_again_nor_checked(compare, monkeypatch):
    assert compare("gem", "train.enabled=false")[0] == 0
    before = runs()
    checked, check = [], check_module.Checks.with_data
    monkeypatch.setattr(
        check_module.Checks,
        "with_data",
        lambda self, settings: checked.append(settings.pooling.name) or check(self, settings),
    )
    assert compare("gem gem:pooling=mac", "train.enabled=false")[0] == 0
    assert set(before) < set(runs())
    assert checked == ["mac"]


def test_a_run_that_fails_midway_leaves_the_others_in_the_table(compare, monkeypatch):
    describe = bench_module.describe

    def failing(state, *rest, **options):
        if state.settings.pooling.name == "mac":
            raise RuntimeError("the disk is full\nand more")
        return describe(state, *rest, **options)

    monkeypatch.setattr(bench_module, "describe", failing)
    words = ("gem:pooling=mac gem gem:pooling=spoc", "train.enabled=false")
    code, shown, told = compare(*words)
    assert code == 1
    assert "pooling spoc" in shown
    assert "Missing: gem:pooling=mac: RuntimeError: the disk is full" in shown
    assert told.splitlines()[-1] == (
        "failed: RunsFailedError: 1 of 3 runs (gem:pooling=mac); the same command tries them again (--debug shows the "
        "traceback)"
    )
    monkeypatch.setattr(bench_module, "describe", describe)
    code, shown, _ = compare(*words)
    assert code == 0
    assert "Missing" not in shown
    pages = [page.read_text(encoding="utf-8") for page in Path("runs/comparisons").glob("*/report.html")]
    assert sorted("the disk is full" in page for page in pages) == [False, True]


def test_where_every_run_fails_the_reason_is_the_error(compare):
    Path("landmarks/9.png").write_text("<html>")
    code, shown, told = compare("gem gem:pooling=mac", "train.enabled=false")
    assert code == 2
    assert shown == ""
    assert "9.png" in told.splitlines()[-1]


def test_make_passes_entries_on():
    root = Path(__file__).parents[2]
    words = ["make", "-n", "compare", "METHODS=gem gem:pooling=my_gem,extract.scales=[1,0.7]", "PYTHON=python3"]
    shown = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout
    assert 'compare --methods "gem gem:pooling=my_gem,extract.scales=[1,0.7]"' in shown
