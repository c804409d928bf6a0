"""A small dataset with groups, boxes and junk, and rankings of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from retrieval_bench.values.dataset import ImageList, RetrievalDataset
from retrieval_bench.values.ranking import Ranking


@pytest.fixture
def make_dataset() -> Callable[..., RetrievalDataset]:
    """Three queries over eight database images; whatever is given comes first."""

    def make(**given: Any) -> RetrievalDataset:
        queries = ["q0", "q1", "d2"]
        database = [f"d{row}" for row in range(8)]
        values: dict[str, Any] = {
            "name": "small",
            "root": Path("data") / "small",
            "queries": ImageList(queries, [Path(f"{n}.jpg") for n in queries], [(1.0, 2.0, 30.0, 40.0), None, None]),
            "database": ImageList(database, [Path("jpg") / f"{name}.jpg" for name in database]),
            "ground_truth": [
                {"easy": [0, 1], "hard": [5], "junk": [7]},
                {"easy": [], "hard": [], "junk": []},
                {"easy": [3], "hard": [], "junk": [2]},
            ],
            "query_groups": ("near", "far", "near"),
            "facts": {"images": "drawn, seed 0", "licence": "none"},
        }
        return RetrievalDataset(**(values | given))

    return make


@pytest.fixture
def ranking() -> Ranking:
    """The same order for all queries but the last, which finds itself first."""
    rows = torch.tensor([[4, 0, 7, 5, 1, 2, 3, 6], [0, 1, 2, 3, 4, 5, 6, 7], [2, 6, 3, 0, 1, 4, 5, 7]])
    return Ranking(rows, torch.linspace(1, 0, 8).expand(3, -1))
