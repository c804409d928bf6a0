"""Stages of a training as one."""

from pathlib import Path

from retrieval_bench.running.model import joined
from retrieval_bench.training.fit import Trained


def test_epochs_count_on_over_stages():
    first = Trained([{"epoch": 1, "lr": 0.1}, {"epoch": 2, "lr": 0.05}], 3.0, 20, Path("a"))
    second = Trained([{"epoch": 1, "lr": 0.01}], 2.0, 10, Path("b"))
    whole = joined([first, second])
    assert [row["epoch"] for row in whole.history] == [1, 2, 3]
    assert [row["lr"] for row in whole.history] == [0.1, 0.05, 0.01]
    assert (whole.seconds, whole.images, whole.checkpoint) == (5.0, 30, Path("b"))
