"""Re-ranking by correlation verification: a network compares the feature maps of query and candidate."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from retrieval_bench.reranking.base import Reranker, check_inputs, register_reranker
from retrieval_bench.reranking.candidates import (
    LEVELS,
    Level,
    candidate_places,
    check_annotations,
    passed_over,
    refilled,
)
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.values.ranking import Ranking

Protocol = Literal["honest", "published"]

WAITING_BYTES = 2**28
"""Pyramids that may wait for others of their shape."""


@register_reranker("cvnet")
class Cvnet(Reranker):
    """Add the probability that both images show one landmark to the score of each query's first candidates.

    ``query`` and ``database`` are sequences of feature maps ``(C, h, w)`` before the last ReLU of their stage, or of
    what ``model.pyramid`` made of them. An entry is read when its image is first compared, and its pyramid kept for the
    queries that follow, also in later calls with the same database and weights: a sequence may compute its maps when
    asked. New score = score + `mix` * probability; the candidates are sorted by it, all others keep their place. The
    ranking's scores have to be similarities, as those of search are: positions instead of them leave nothing to change.

    Source: Lee et al., "Correlation Verification for Image Retrieval", CVPR 2022; sungonce/CVNet ``test/test_model.py``
    and ``test/test_utils.py`` (mix 0.5, top 100). Published figures also need ``protocol="published"``.

    Args:
        model: has ``pyramid(maps)`` and ``score(pyramids, pyramids)``, as the ``matcher`` of method cvnet, or is that
            method's model. A score compares ``(1, ...)`` of a query with ``(B, ...)`` of candidates.
        top_k: candidates per query; fewer where the ranking is shorter.
        mix: weight of the probability, 0 or more.
        protocol: ``honest`` takes the first `top_k` rows as they are ranked. ``published`` takes the first `top_k` that
            count at one level of the evaluation, by the ground truth; `uses_ground_truth` says so.
        ground_truth: of the published protocol: per query ``easy``, ``hard`` and ``junk`` rows.
        level: of the published protocol; `by_level` gives all three from one computation.
        chunk: most candidates, of one shape, that the model is given at once.
        cache_bytes: of pyramids kept; those unused for longest go first.

    Raises:
        InputError: no model, or an unknown or impossible value.
    """

    needs: ClassVar[Literal["descriptors", "local features", "feature maps"]] = "feature maps"

    def __init__(
        self,
        model: Any = None,
        top_k: int = 100,
        mix: float = 0.5,
        protocol: Protocol = "honest",
        ground_truth: Any = None,
        level: Level = "medium",
        chunk: int = 32,
        cache_bytes: int = 2**31,
    ):
        for name, value, choices in (("protocol", protocol, get_args(Protocol)), ("level", level, LEVELS)):
            if value not in choices:
                raise InputError(nearest(str(value), choices, noun=name))
        for name, number in (("top_k", top_k), ("chunk", chunk)):
            if number < 1:
                raise InputError(f"{name} must be at least 1, got {number}")
        if cache_bytes < 0:
            raise InputError(f"cache_bytes must be 0 (keep no pyramid) or more, got {cache_bytes}")
        if not 0 <= mix < float("inf"):
            raise InputError(f"mix must be 0 or more, got {mix}")
        if (protocol == "published") != (ground_truth is not None):
            raise InputError(
                "protocol='published' needs ground_truth=, one entry per query"
                if protocol == "published"
                else "protocol='honest' takes no ground_truth; set protocol='published' to let it choose candidates"
            )
        self.model = matcher_of(model)
        self.top_k = top_k
        self.mix = mix
        self.protocol = protocol
        self.ground_truth = ground_truth
        self.level: Level = level
        self.chunk = chunk
        self.pyramids = PyramidCache(self.model, cache_bytes)

    @property
    def uses_ground_truth(self) -> bool:
        return self.protocol == "published"

    def __call__(self, ranking: Ranking, query: Sequence[Tensor], database: Sequence[Tensor]) -> Ranking:
        return self._rerank(ranking, query, database, (self.level,))[self.level]

    def by_level(self, ranking: Ranking, query: Sequence[Tensor], database: Sequence[Tensor]) -> dict[str, Ranking]:
        """The ranking to evaluate at each of ``easy``, ``medium`` and ``hard``; no pair is compared twice.

        The published protocol has three, of which each is meant for its own level only. The honest one has the same for
        all.

        Raises:
            InputError: as `__call__`.
        """
        return self._rerank(ranking, query, database, LEVELS)

    def _rerank(
        self, ranking: Ranking, query: Sequence[Tensor], database: Sequence[Tensor], levels: Sequence[Level]
    ) -> dict[str, Ranking]:
        check_inputs(ranking, query, database, needs="one feature map (C, h, w) per image")
        annotations = check_annotations(self.ground_truth, ranking) if self.uses_ground_truth else None
        if not len(ranking):
            return dict.fromkeys(levels, ranking)
        parts: dict[str, list[tuple[Tensor, Tensor]]] = {level: [] for level in levels}
        for number, (rows, scores) in enumerate(zip(ranking.indices.cpu(), ranking.scores.cpu(), strict=True)):
            places = {
                level: candidate_places(
                    rows, self.top_k, passed_over(annotations[number], level) if annotations else ()
                )
                for level in levels
            }
            compared = torch.cat(list(places.values())).unique()
            new = scores.clone()
            new[compared] += self.mix * self._probabilities(number, query, rows[compared].tolist(), database).to(new)
            for level, chosen in places.items():
                parts[level].append(refilled(rows, scores, chosen, new[chosen]))
        device = ranking.indices.device
        return {
            level: Ranking(*(torch.stack(part).to(device) for part in zip(*done, strict=True)))
            for level, done in parts.items()
        }

    @torch.inference_mode()
    def _probabilities(
        self, number: int, query: Sequence[Tensor], rows: list[int], database: Sequence[Tensor]
    ) -> Tensor:
        """Of query `number` against database rows -> ``(m,)`` on the processor."""
        found = torch.zeros(len(rows))
        if not rows:
            return found
        with torch.autocast(self.pyramids.device.type, enabled=False):
            asked = _of_image(f"query {number}", self.pyramids.compute, query[number])
            for positions, pyramids in self._batches(rows, database):
                found[positions] = self.model.score(asked, pyramids).float().cpu()
        if not bool(torch.isfinite(found).all()):
            row = rows[int((~torch.isfinite(found)).nonzero()[0])]
            raise InputError(
                f"query {number} against database row {row}: the probability is not finite; check the feature maps and "
                "the weights"
            )
        return found

    def _batches(self, rows: list[int], database: Sequence[Tensor]) -> Iterator[tuple[list[int], Tensor]]:
        """Positions in `rows` and their pyramids, those of one shape together."""
        waiting: dict[tuple[int, ...], list[tuple[int, Tensor]]] = {}
        for position, row in enumerate(rows):
            pyramid = self.pyramids.get(database, row)
            alike = waiting.setdefault(tuple(pyramid.shape), [])
            alike.append((position, pyramid))
            held = sum(kept.nbytes for group in waiting.values() for _, kept in group)
            if len(alike) == self.chunk:
                yield _together(waiting.pop(tuple(pyramid.shape)))
            elif held > WAITING_BYTES:
                yield from map(_together, waiting.values())
                waiting.clear()
        yield from map(_together, waiting.values())


class PyramidCache:
    """Pyramids of a database's images, computed once each.

    They are dropped when another database is asked for or the weights of the model have changed, and those unused for
    longest when all together take more than a number of bytes.

    Args:
        model: has ``pyramid``.
        limit: bytes.
    """

    def __init__(self, model: Any, limit: int):
        self.model = model
        self.limit = limit
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        self._bytes = 0
        self._source: tuple[Any, Any] = (None, None)

    @property
    def device(self) -> torch.device:
        """Where the model is; the processor for one without weights."""
        first = first_weight(self.model)
        return torch.device("cpu") if first is None else first.device

    def get(self, database: Sequence[Tensor], row: int) -> Tensor:
        """The pyramid of a database row, ``(1, ...)``.

        Raises:
            InputError: the entry is no feature map for the model.
        """
        weights = weights_of(self.model)
        if self._source[0] is not database or self._source[1] != weights:
            self._kept.clear()
            self._bytes = 0
            self._source = (database, weights)
        if row in self._kept:
            self._kept.move_to_end(row)
            return self._kept[row]
        pyramid = _of_image(f"database row {row}", self.compute, database[row])
        self._kept[row] = pyramid
        self._bytes += pyramid.nbytes
        while self._bytes > self.limit:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return pyramid

    def compute(self, entry: Any) -> Tensor:
        """A feature map ``(C, h, w)``, or a pyramid of one image -> the pyramid, where the model is."""
        if not isinstance(entry, Tensor) or entry.ndim not in (3, 4, 5) or (entry.ndim == 5 and len(entry) != 1):
            shown = tuple(entry.shape) if isinstance(entry, Tensor) else type(entry).__name__
            raise InputError(f"a feature map (C, h, w), or the pyramid of one image, is needed, got {shown}")
        first = first_weight(self.model)
        if first is not None:
            entry = entry.to(first.device, first.dtype)
        if entry.ndim == 3:
            entry = self.model.pyramid(entry[None])
        return entry if entry.ndim != 4 else entry[None]


def matcher_of(model: Any) -> Any:
    """The part of a model that compares feature maps: the model itself or its ``matcher``.

    Raises:
        InputError: there is none, or its weights are still random.
    """
    if model is None:
        raise InputError("re-ranker 'cvnet' needs model=: a model made by create_model('cvnet', weights=...)")
    absent = getattr(model, "absent_weights", ())
    if any(str(key).startswith("matcher.") for key in absent):
        raise InputError(
            f"the weights {getattr(model, 'weights_source', 'of the model')} hold no matcher, only the global network; "
            "give a whole CVNet checkpoint, or train the matcher"
        )
    for part in (model, getattr(model, "matcher", None)):
        if all(callable(getattr(part, name, None)) for name in ("pyramid", "score")):
            return part
    raise InputError(
        f"re-ranker 'cvnet' needs a model with a matcher, got {type(model).__name__}; make one with "
        "create_model('cvnet', weights=...)"
    )


def first_weight(model: Any) -> Tensor | None:
    """A parameter of a model, or None where it has none."""
    return next(model.parameters(), None) if isinstance(model, nn.Module) else None


def weights_of(model: Any) -> tuple[tuple[int, int], ...]:
    """What changes whenever the weights of a model do."""
    if not isinstance(model, nn.Module):
        return ()
    return tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in model.parameters())


def _together(group: list[tuple[int, Tensor]]) -> tuple[list[int], Tensor]:
    positions, pyramids = zip(*group, strict=True)
    return list(positions), torch.cat(pyramids)


def _of_image(name: str, compute: Any, entry: Any) -> Tensor:
    try:
        pyramid: Tensor = compute(entry)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return pyramid
