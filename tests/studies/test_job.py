"""What a log tells."""

from retrieval_bench.studies.job import said
from retrieval_bench.studies.journal import Journal


def test_of_a_bar_the_last_state_is_read(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"old\n\x1b[31mtrain 1/9\rtrain 2/9\r\n\n  error: no\n")
    assert said(log) == ["old", "train 2/9", "error: no"]
    assert said(log, begin=4) == ["train 2/9", "error: no"]
    assert said(tmp_path / "none") == []


def test_of_a_long_log_the_end_is_read(tmp_path):
    log = tmp_path / "log"
    log.write_text("x" * 200_000 + "\nlast\n")
    assert said(log)[-1] == "last"


def test_a_journal_line_that_was_cut_off_is_left_out(tmp_path):
    file = tmp_path / "journal.jsonl"
    file.write_text('{"digest": "a", "name": "x", "state": "failed", "reason": "r"}\n{"digest": "a", "na')
    assert Journal(file).latest()["a"].reason == "r"
    assert Journal(tmp_path / "none").latest() == {}
