"""part_name: what every re-ranker passes, and what this one promises."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import retrieval_bench as rb
from retrieval_bench import contracts
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins

load_plugins([Path(__file__).with_name("part_name.py")])

RANDOM = torch.Generator().manual_seed(0)
QUERIES = F.normalize(torch.rand(3, 8, generator=RANDOM), dim=1)
DATABASE = F.normalize(torch.rand(20, 8, generator=RANDOM), dim=1)
RANKING = rb.search(QUERIES, DATABASE)


@pytest.mark.parametrize("which", contracts.check_names("reranker"))
def test_contract(which: str) -> None:
    """What every built-in re-ranker passes too."""
    contracts.check("reranker", "part_name", which)


def test_without_neighbours_nothing_changes() -> None:
    """A special case that is known."""
    again = rb.rerank("part_name", RANKING, QUERIES, DATABASE, neighbours=0)
    assert torch.equal(again.indices, RANKING.indices)


def test_scores_are_those_of_the_expanded_query() -> None:
    """One query by hand: the mean of itself and its first neighbour."""
    again = rb.rerank("part_name", RANKING, QUERIES, DATABASE, neighbours=1, alpha=0.0)
    mean = F.normalize(QUERIES + DATABASE[RANKING.indices[:, 0]], dim=1)
    assert torch.equal(again.indices, (mean @ DATABASE.T).argsort(dim=1, descending=True, stable=True))


def test_what_lies_beyond_the_candidates_keeps_its_place() -> None:
    """Only the first `top_k` are sorted, and scores still fall along a row."""
    again = rb.rerank("part_name", RANKING, QUERIES, DATABASE, top_k=6)
    assert torch.equal(again.indices[:, 6:], RANKING.indices[:, 6:])
    assert bool((again.scores.diff(dim=1) <= 0).all())


@pytest.mark.parametrize("options", [{"top_k": 0}, {"neighbours": -1}, {"alpha": "steep"}, {"alfa": 1.0}], ids=str)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    """Values that are impossible, of another kind, or misspelt."""
    with pytest.raises(InputError):
        rb.rerank("part_name", RANKING, QUERIES, DATABASE, **options)
