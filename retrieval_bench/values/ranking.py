"""`Ranking`: what search hands to re-ranking and evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.settings.errors import InputError


@dataclass(frozen=True)
class Ranking:
    """Database rows per query, best first.

    Attributes:
        indices: ``(Q, k)`` int64, rows of the database; no row twice for one query.
        scores: ``(Q, k)`` float32, higher is better, non-increasing along a row.
    """

    indices: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        if self.indices.ndim != 2 or self.indices.shape != self.scores.shape:
            raise InputError(
                f"a ranking needs indices and scores of one shape (Q, k), got {tuple(self.indices.shape)} and "
                f"{tuple(self.scores.shape)}"
            )

    def __len__(self) -> int:
        return self.indices.shape[0]

    @property
    def k(self) -> int:
        """How many database rows are ranked for each query."""
        return self.indices.shape[1]

    @classmethod
    def from_indices(cls, indices: Any) -> "Ranking":
        """A ranking from a plain ``(Q, k)`` integer tensor or array, best first; scores are minus the position.

        Raises:
            InputError: not two-dimensional, or not integers.
        """
        try:
            rows = torch.as_tensor(indices if isinstance(indices, Tensor) else np.asarray(indices)).cpu()
        except (TypeError, ValueError) as error:
            raise InputError("a rank matrix must be (Q, k) integers, every query with the same number k") from error
        if rows.ndim != 2 or rows.dtype.is_floating_point or rows.dtype.is_complex or rows.dtype == torch.bool:
            raise InputError(
                f"a rank matrix must be (Q, k) integers, got {str(rows.dtype).removeprefix('torch.')} of shape "
                f"{tuple(rows.shape)}"
            )
        scores = -torch.arange(rows.shape[1], dtype=torch.float32).expand(rows.shape[0], -1)
        return cls(rows.long(), scores)

    def save(self, path: Path) -> None:
        """Write ``indices`` and ``scores`` as npz."""
        np.savez_compressed(path, indices=self.indices.cpu().numpy(), scores=self.scores.cpu().numpy())


@dataclass(frozen=True)
class LevelRankings:
    """The ranking that is evaluated at each level: one and the same, unless ground truth chose what was re-ranked."""

    easy: Ranking
    medium: Ranking
    hard: Ranking

    @classmethod
    def same(cls, ranking: Ranking) -> "LevelRankings":
        """One ranking for all levels."""
        return cls(ranking, ranking, ranking)

    @property
    def differ(self) -> bool:
        """Whether levels have rankings of their own."""
        return not self.easy is self.medium is self.hard

    def of_levels(self) -> dict[str, Ranking]:
        """Rankings by level."""
        return {"easy": self.easy, "medium": self.medium, "hard": self.hard}
