"""Where files are found when the user does not say."""

from pathlib import Path

from retrieval_bench.settings.places import default_root


def test_data_lie_in_the_current_folder(monkeypatch):
    monkeypatch.delenv("RETRIEVAL_BENCH_DATA", raising=False)
    assert default_root() == Path("datasets")


def test_the_environment_says_where_data_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RETRIEVAL_BENCH_DATA", "~/images")
    assert default_root() == tmp_path / "images"
