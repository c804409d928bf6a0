"""Re-ranking by refined global descriptors: candidates average their neighbours, the query takes the best of them.

Shao et al., "Global Features are All You Need for Image Retrieval and Reranking" (SuperGlobal), ICCV 2023, section 4;
as in the authors' ``MDescAug`` and ``RerankwMDA``. No ground truth and no local features take part.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.reranking.base import Reranker, check_inputs, register_reranker
from retrieval_bench.reranking.device import device_named
from retrieval_bench.reranking.threads import one_thread_each
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.ranking import Ranking

STRIP = 80
"""Rows of a Gram matrix that one product computes: half as many products of numbers as the whole matrix has, nearly."""


class Store(Protocol):
    """Descriptors on disk, which read the rows that they are asked for."""

    shape: tuple[int, int]

    def tensor(self, rows: Tensor, /) -> Tensor:
        """``(m,)`` rows -> ``(m, D)``."""
        ...


Matrix = Tensor | np.ndarray | Store


@dataclass(frozen=True)
class Refined:
    """The refined descriptors of M candidates, as the weighted means that they are: ``W D`` with few weights a row.

    They are never laid out together: a product with a vector needs ``W (D v)`` only, and few rows are read one by one.

    Attributes:
        descriptors: ``(M, D)`` float32.
        neighbours: ``(M, n)`` int64, rows of `descriptors` in a mean, nearest first.
        weights: ``(M, n)``, with sum 1.
    """

    descriptors: Tensor
    neighbours: Tensor
    weights: Tensor

    def times(self, vector: Tensor) -> Tensor:
        """``(D,)`` -> ``(M,)``: the inner product of every refined descriptor with `vector`."""
        return ((self.descriptors @ vector)[self.neighbours] * self.weights).sum(dim=1)

    def rows(self, chosen: Tensor) -> Tensor:
        """``(m,)`` rows -> their refined descriptors ``(m, D)``, not normalised."""
        members = self.descriptors.index_select(0, self.neighbours[chosen].flatten())
        members = members.view(len(chosen), -1, members.shape[1])
        return (members * self.weights[chosen, :, None]).sum(dim=1)


def refine(descriptors: Tensor, k: int = 9, beta: float = 0.15) -> Refined:
    """Average every candidate with its nearest fellow candidates, weighted by `beta` times their similarity.

    The most similar one, which is the candidate itself, weighs 1. A duplicate may stand in for it.

    Args:
        descriptors: ``(M, D)`` float32, of unit norm as a rule.
        k: neighbours of a candidate beside itself; fewer where M is smaller.
        beta: weight of a neighbour with similarity 1; a negative similarity weighs less than nothing.
    """
    similarities, neighbours = largest(gram(descriptors), min(k + 1, len(descriptors)))
    weights = beta * similarities
    weights[:, 0] = 1
    return Refined(descriptors, neighbours, weights / weights.sum(dim=1, keepdim=True))


def rerank_scores(query: Tensor, descriptors: Tensor, k: int = 9, beta: float = 0.15) -> Tensor:
    """New scores of one query's candidates: mean similarity of their refined descriptors to it and to its expansion.

    The expanded query is the elementwise maximum of the ``k + 1`` refined descriptors most similar to the query, which
    is not among them; neither it nor refined descriptors are normalised.

    Args:
        query: ``(D,)`` float32.
        descriptors: ``(M, D)`` float32 of the candidates, best first; equal ones count in this order.
        k, beta: as in `refine`.

    Returns:
        ``(M,)``.
    """
    refined = refine(descriptors, k, beta)
    similarities = refined.times(query)
    best = similarities.argsort(descending=True, stable=True)[: k + 1]
    return (similarities + refined.times(refined.rows(best).amax(dim=0))) / 2


def gram(rows: Tensor) -> Tensor:
    """``(M, D)`` -> ``(M, M)`` inner products, exactly symmetric: one half is computed, the other mirrored."""
    count = len(rows)
    products = rows.new_empty(count, count)
    for start in range(0, count, STRIP):
        end = min(start + STRIP, count)
        products[start:end, start:] = rows[start:end] @ rows[start:].T
        products[end:, start:end] = products[start:end, end:].T
    return products


def largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest values of each row and their columns, largest first; equal ones by column.

    Args:
        values: ``(M, C)``.

    Returns:
        ``(M, count)`` values and ``(M, count)`` columns.
    """
    kth = _kth_largest(values, count)
    chosen = _true_places(values >= kth)
    if len(chosen) == len(values) * count:
        columns = (chosen % values.shape[1]).view(len(values), count)
    else:  # equal values compete for the last places
        columns = values.argsort(dim=1, descending=True, stable=True)[:, :count].sort(dim=1).values
    kept, order = values.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return kept, columns.gather(1, order)


def _kth_largest(values: Tensor, k: int) -> Tensor:
    """``(M, C)`` -> ``(M, 1)``."""
    if values.device.type == "cpu":
        # Four times faster than torch's, which takes a fifth of the time of the whole re-ranking; so is the next.
        place = values.shape[1] - k
        return torch.from_numpy(np.partition(values.numpy(), place, axis=1)[:, place, None])
    return values.topk(k, dim=1).values[:, -1:]


def _true_places(mask: Tensor) -> Tensor:
    """``(M, C)`` bool -> positions in the flattened mask that are true, rising."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.flatten().nonzero()[:, 0]


@register_reranker("superglobal")
class SuperGlobalReranker(Reranker):
    """Refine the descriptors of each query's first candidates by one another, and sort by them.

    ``query`` and ``database`` are descriptors ``(Q, D)`` and ``(N, D)``: tensors, arrays, memory maps or descriptor
    stores, of unit norm as a rule. Only the candidates of a query are read and held in float32, about
    ``4 * top_m * (D + 2 * top_m)`` bytes for each thread of torch.

    Scores of the first `top_m` rows are those of `rerank_scores`; equal ones keep the order of the ranking. Later rows
    keep their places and score as before, plus one constant for each query that takes the first of them to the last
    re-ranked score.

    Args:
        top_m: candidates re-ranked per query (M); fewer where the ranking is shorter.
        k: neighbours of a candidate (K). As in the published code, a mean holds K neighbours beside the candidate
            itself, and the expanded query K + 1 candidates.
        beta: weight of neighbours.
        device: where it is computed, such as ``cuda``; None leaves the descriptors where they are.

    Attributes:
        top_k: `top_m` under the name that all re-rankers share.

    Raises:
        InputError: an impossible option.
    """

    needs = "descriptors"

    def __init__(self, top_m: int = 400, k: int = 9, beta: float = 0.15, device: str | None = None):
        if top_m < 1:
            raise InputError(f"top_m must be at least 1, got {top_m}")
        if k < 0:
            raise InputError(f"k, the neighbours of a candidate, must be at least 0, got {k}")
        if not 0 <= beta < float("inf"):
            raise InputError(f"beta, the weight of neighbours, must be a number from 0 up, got {beta}")
        self.top_m = self.top_k = top_m
        self.k = k
        self.beta = beta
        self.device = device_named(device)

    def __call__(self, ranking: Ranking, query: Any, database: Any) -> Ranking:
        check_inputs(ranking, query, database, needs="a (Q, D) or (N, D) matrix of descriptors")
        asking, known = _matrix(query, "query"), _matrix(database, "database")
        if asking.shape[1] != known.shape[1]:
            raise InputError(
                f"query descriptors have {asking.shape[1]} dimensions, database descriptors {known.shape[1]}; extract "
                "both with one model"
            )
        if not ranking.indices.numel():
            return ranking
        with one_thread_each() as threads, ThreadPoolExecutor(threads) as pool:
            inputs = range(len(ranking)), ranking.indices, ranking.scores
            results = list(pool.map(partial(self._rerank, query=asking, database=known), *inputs))
        rows, scores = (torch.stack(part) for part in zip(*results, strict=True))
        return Ranking(rows, scores)

    @torch.no_grad()
    def _rerank(self, number: int, rows: Tensor, old: Tensor, query: Matrix, database: Matrix) -> tuple[Tensor, Tensor]:
        """The new rows and scores of one query."""
        first, rest = rows[: self.top_m], old[self.top_m :]
        candidates = self._read(database, first, "database")
        asking = self._read(query, torch.tensor([number]), "query").to(candidates.device)
        scores = rerank_scores(asking[0], candidates, self.k, self.beta)
        if not bool(scores.isfinite().all()):
            raise InputError(f"the weights of neighbours cancel at beta={self.beta} for query {number}; lower beta")
        new, order = scores.sort(descending=True, stable=True)
        new, order = new.to(old.device, old.dtype), order.to(rows.device)
        return torch.cat((first[order], rows[self.top_m :])), torch.cat((new, rest - rest[:1] + new[-1:]))

    def _read(self, matrix: Matrix, rows: Tensor, noun: str) -> Tensor:
        """``(m, D)`` float32 of the given rows."""
        if isinstance(matrix, Tensor):
            taken = matrix.detach().index_select(0, rows.to(matrix.device))
        elif isinstance(matrix, np.ndarray):
            taken = torch.from_numpy(matrix[rows.cpu().numpy()])
        else:
            taken = matrix.tensor(rows.cpu())
        taken = taken.to(self.device or taken.device, torch.float32)
        # A sum is finite only if all its terms are, and costs a thirtieth of looking at them one by one.
        if not bool(taken.sum().isfinite()) and not bool(taken.isfinite().all()):
            row = int(rows[int((~taken.isfinite()).any(dim=1).nonzero()[0])])
            raise InputError(f"{noun} descriptor {row} holds NaN or infinity; look at its image and extract it again")
        return taken


def _matrix(descriptors: Any, noun: str) -> Matrix:
    """Descriptors as something with rows to read, without copying them."""
    if isinstance(descriptors, Tensor) or hasattr(descriptors, "tensor"):
        floating = not isinstance(descriptors, Tensor) or descriptors.is_floating_point()
    else:
        try:
            descriptors = np.asarray(descriptors)
        except ValueError as error:
            raise InputError(f"{noun} descriptors must all have the same number of dimensions") from error
        floating = descriptors.dtype.kind == "f"
    if len(descriptors.shape) != 2 or not floating:
        raise InputError(
            f"{noun} descriptors must be a floating-point matrix with one row for each image; got "
            f"{type(descriptors).__name__} of {getattr(descriptors, 'dtype', 'unknown')} and shape "
            f"{tuple(descriptors.shape)}"
        )
    return descriptors
