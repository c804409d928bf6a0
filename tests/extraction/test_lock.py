import threading

import pytest

from retrieval_bench.extraction.lock import alone_in

pytest.importorskip("fcntl", reason="this system has no file locks")


def test_second_holder_waits_for_the_first(tmp_path):
    events = []

    def second():
        with alone_in(tmp_path / "work"):
            events.append("second")

    with alone_in(tmp_path / "work"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.2)
        assert thread.is_alive()
        events.append("first")
    thread.join(timeout=10)
    assert events == ["first", "second"]


def test_waiter_gets_a_folder_of_its_own_after_a_rename(tmp_path):
    held = threading.Event()
    found = []

    def second():
        with alone_in(tmp_path / "work"):
            held.set()
            found.extend((tmp_path / "work").iterdir())

    with alone_in(tmp_path / "work"):
        (tmp_path / "work" / "file").touch()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.2)
        assert not held.is_set()
        (tmp_path / "work").rename(tmp_path / "done")
    thread.join(timeout=10)
    assert held.is_set()
    assert found == []
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_hold_ends_with_an_error(tmp_path):
    with pytest.raises(ValueError, match="stop"), alone_in(tmp_path / "work"):
        raise ValueError("stop")
    with alone_in(tmp_path / "work"):
        pass
