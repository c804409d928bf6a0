"""A file is there whole or not at all."""

import pytest

from retrieval_bench.settings.whole_file import whole_file, write_text


def test_it_takes_the_place_of_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    assert write_text(path, "old") == path
    with whole_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_failed_leaves_nothing(tmp_path):
    path = write_text(tmp_path / "table.csv", "old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as partial:  # noqa: PT012
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
