"""Whitening as a step of a run: what it is learnt on, that it is saved, and what it refuses."""

import pytest
import torch
from rich.console import Console

from retrieval_bench.extraction.whitening import learn_pca_whitening
from retrieval_bench.recording.content import content_of
from retrieval_bench.running.state import RunState
from retrieval_bench.running.whiten import matching_pairs, whitened
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import layered


def test_matching_pairs_are_all_pairs_of_one_label_once():
    first, second = matching_pairs(torch.tensor([0, 1, 0, 2, 0, 1]))
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 2), (0, 4), (1, 5), (2, 4)]


def test_without_a_label_twice_there_are_no_pairs():
    first, second = matching_pairs(torch.arange(5))
    assert first.numel() == second.numel() == 0


@pytest.mark.parametrize("count", [2, 7])
def test_one_label_gives_every_pair(count):
    assert len(matching_pairs(torch.zeros(count, dtype=torch.long))[0]) == count * (count - 1) // 2


def test_a_saved_whitening_must_be_the_one_under_which_the_run_is_kept(tmp_path):
    """It is read after the training, which may take hours."""
    file, rows = tmp_path / "white.safetensors", torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    learn_pca_whitening(rows, "drawn").save(file)
    settings = layered({"whitening": {"kind": "file", "path": str(file)}})
    state = RunState(settings, tmp_path, Console(quiet=True), content_of(settings))
    asked, known = whitened(state, None, None, rows[:2], rows)
    assert (asked.shape, known.shape) == ((2, 4), (20, 4))
    learn_pca_whitening(rows[:10], "drawn anew").save(file)
    with pytest.raises(InputError, match=r"the file of whitening\.path= was changed"):
        whitened(state, None, None, rows[:2], rows)
