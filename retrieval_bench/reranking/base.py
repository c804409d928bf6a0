"""Re-rankers by name, and `rerank`, the call that uses them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.faults import fault_of
from retrieval_bench.settings.registry import Registry
from retrieval_bench.values.ranking import Ranking

RERANKERS = Registry("re-ranker", "retrieval_bench.reranking")


class Reranker(ABC):
    """Improves a ranking from what its queries and database look like.

    The constructor's parameters are the re-ranker's options. A ``model`` among them is handed the network that made
    the descriptors, a ``ground_truth`` the dataset's.

    Attributes:
        needs: what ``query`` and ``database`` hold, one entry per query and one per database row: ``"descriptors"``
            ``(Q, D)`` and ``(N, D)``, ``"local features"`` (sequences of `LocalFeatures`) or ``"feature maps"``
            (sequences of ``(C, h, w)``).
    """

    needs: ClassVar[Literal["descriptors", "local features", "feature maps"]] = "descriptors"

    @property
    def uses_ground_truth(self) -> bool:
        """Whether ground truth chooses what is re-ranked; such a figure must say so beside it."""
        return False

    @abstractmethod
    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        """Return a ranking of the same shape over the same database.

        Raises:
            InputError: ranking, queries and database do not belong together, or hold values that are not finite.
        """


def register_reranker(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a `Reranker` under `name`."""
    return RERANKERS.register(name)


def list_rerankers() -> list[str]:
    """The names that `rerank` knows."""
    return RERANKERS.names()


def create_reranker(name: str, **options: Any) -> Reranker:
    """Build a re-ranker, to use it on several rankings or to ask it for more than a ranking.

    Raises:
        InputError: unknown name or option, an option with an impossible value, or a part that is no `Reranker`.
    """
    reranker = RERANKERS.create(name, options)
    if not isinstance(reranker, Reranker):
        said = f"makes a {type(reranker).__name__}, which must inherit from retrieval_bench.reranking.Reranker"
        raise InputError(fault_of(RERANKERS.get(name), said))
    return reranker


def reranked(reranker: Reranker, ranking: Ranking, query: Any, database: Any) -> Ranking:
    """What a re-ranker makes of a ranking.

    Raises:
        InputError: it gave no ranking of the same shape.
    """
    found = reranker(ranking, query, database)
    if not isinstance(found, Ranking) or found.indices.shape != ranking.indices.shape:
        given = f"a ranking of {tuple(found.indices.shape)}" if isinstance(found, Ranking) else type(found).__name__
        raise InputError(fault_of(type(reranker), f"gave {given}, not a Ranking of {tuple(ranking.indices.shape)}"))
    return found


def rerank(name: str, ranking: Ranking, query: Any = None, database: Any = None, **options: Any) -> Ranking:
    """Re-rank a ranking.

    Args:
        name: as in `list_rerankers`.
        ranking: what search returned.
        query: one entry per query, in the order of the ranking's rows.
        database: one entry per database row.
        options: of that re-ranker.

    Raises:
        InputError: unknown name or option, or inputs that do not belong together.
    """
    if not isinstance(ranking, Ranking):
        raise InputError(
            f"rerank needs a Ranking, got {type(ranking).__name__}; make one with Ranking.from_indices(...)"
        )
    return reranked(create_reranker(name, **options), ranking, query, database)


def check_inputs(ranking: Ranking, query: Any, database: Any, *, needs: str) -> None:
    """Check that a ranking, its queries and its database belong together.

    Args:
        needs: what one entry has to be, for the message.

    Raises:
        InputError: something is missing, of another length, or a ranked row lies outside the database.
    """
    for side, given in (("query", query), ("database", database)):
        if given is None or not hasattr(given, "__len__") or not hasattr(given, "__getitem__"):
            raise InputError(f"re-ranking needs {side}=: {needs}; got {type(given).__name__}")
    if len(query) != len(ranking):
        raise InputError(f"the ranking has {len(ranking)} queries but {len(query)} were given; they must be as many")
    if not bool(torch.isfinite(ranking.scores).all()):
        row = int((~torch.isfinite(ranking.scores)).any(1).nonzero()[0])
        raise InputError(f"the ranking of query {row} holds scores that are not finite; check its descriptors")
    if ranking.indices.numel():
        low, high = int(ranking.indices.min()), int(ranking.indices.max())
        if low < 0 or high >= len(database):
            row = low if low < 0 else high
            raise InputError(
                f"the ranking names database row {row}, but the database has {len(database)} entries; "
                "ranking and database do not belong together"
            )
