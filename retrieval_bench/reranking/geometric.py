"""Re-ranking by geometric verification: how many local features of two images agree on one transform."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from retrieval_bench.reranking.base import Reranker, check_inputs, register_reranker
from retrieval_bench.reranking.device import device_named
from retrieval_bench.reranking.geometry.estimator import Transform, create_estimator
from retrieval_bench.reranking.matching import match_descriptors
from retrieval_bench.reranking.threads import one_thread_each
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.values.local_features import LocalFeatures
from retrieval_bench.values.ranking import Ranking

Direction = Literal["database-to-query", "query-to-database"]
Junk = Literal["keep", "skip", "remove"]


@dataclass(frozen=True)
class Verification:
    """What one pair of images agrees on.

    Attributes:
        matches: ``(M, 2)`` int64 pairs of rows (query feature, database feature), closest descriptors first.
        inlier_mask: ``(M,)`` bool, the matches that fit the transform.
    """

    matches: Tensor
    inlier_mask: Tensor

    @property
    def inliers(self) -> int:
        """How many matches fit the transform; 0 where there were too few to look for one."""
        return int(self.inlier_mask.sum())


@register_reranker("geometric")
class Geometric(Reranker):
    """Sort the first candidates of each query by their number of geometrically consistent matches.

    ``query`` and ``database`` are sequences of `LocalFeatures`; a database entry is read when it is compared, one at a
    time, so that a database may read its entries from disk. Candidates with as many inliers keep the order of the
    ranking, which is that of their global scores. Rows that were not verified follow in their order. A new score is
    the number of inliers plus a fraction that falls with the old position; below the verified rows it is the old score
    less that of the first row not verified, hence at most 0.

    Source: Philbin et al., CVPR 2007, section 4; Cao, Araujo, Sim, "Unifying Deep Local and Global Features for Image
    Search", ECCV 2020, whose code (tensorflow/models, research/delf) sets the defaults. Published figures also need:

    - DELG's authors: ``junk="remove"``, once per protocol with its junk.
    - feymanpriv/DELG: ``transform="homography", direction="query-to-database", max_distance=0.99, min_matches=5,
      junk="skip"``.

    Args:
        top_k: candidates verified per query; fewer where the ranking is shorter.
        transform: ``affine`` or ``homography``.
        threshold: largest distance of an inlier from its match, in pixels of the target image.
        direction: which image is transformed into which. Several query features may match one database feature; a
            transform into the database image can collapse all of them onto it, the default direction cannot.
        max_distance, max_ratio, mutual: as in `match_descriptors`; the published ratio test sets ``max_distance=None``.
        min_matches: pairs with fewer matches count 0 inliers.
        backend: ``torch``, ``opencv`` or ``poselib``.
        iterations: hypotheses per pair; the most there may be in backends that stop early.
        backend_options: further options of that backend.
        junk: ``keep`` uses no ground truth. ``skip`` gives junk 0 inliers, ``remove`` takes it out before the first
            `top_k` are counted off; both read `junk_rows`, and `uses_ground_truth` says so.
        junk_rows: per query the database rows that are junk.
        seed: of the sampling; one seed gives one ranking.
        device: where matching and the torch backend run, such as ``cuda``; None leaves the features where they are.

    Raises:
        InputError: an unknown or impossible value.
    """

    needs = "local features"

    def __init__(
        self,
        top_k: int = 100,
        transform: Transform = "affine",
        threshold: float = 20.0,
        direction: Direction = "database-to-query",
        max_distance: float | None = 1.0,
        max_ratio: float | None = None,
        mutual: bool = False,
        min_matches: int = 4,
        backend: str = "torch",
        iterations: int = 500,
        backend_options: Mapping[str, Any] | None = None,
        junk: Junk = "keep",
        junk_rows: Sequence[Sequence[int]] | None = None,
        seed: int = 0,
        device: str | torch.device | None = None,
    ):
        if top_k < 1:
            raise InputError(f"top_k must be at least 1, got {top_k}")
        if direction not in get_args(Direction):
            raise InputError(nearest(direction, get_args(Direction), noun="direction"))
        if junk not in get_args(Junk):
            raise InputError(nearest(junk, get_args(Junk), noun="treatment of junk"))
        if (junk == "keep") != (junk_rows is None):
            raise InputError(
                "junk='keep' takes no junk_rows" if junk == "keep" else f"junk={junk!r} needs junk_rows, one per query"
            )
        for name, limit in (("max_distance", max_distance), ("max_ratio", max_ratio)):
            if limit is not None and not limit > 0:
                raise InputError(f"{name} must be above 0 or None, got {limit}")
        self.estimator = create_estimator(
            backend,
            dict(backend_options or {}),
            transform=transform,
            threshold=threshold,
            iterations=iterations,
            seed=seed,
        )
        self.top_k = top_k
        self.direction = direction
        self.max_distance = max_distance
        self.max_ratio = max_ratio
        self.mutual = mutual
        self.min_matches = max(min_matches, self.estimator.sample_size)
        self.junk = junk
        self.junk_rows = junk_rows
        self._reading = Lock()
        self.device = device_named(device)

    @property
    def uses_ground_truth(self) -> bool:
        return self.junk != "keep"

    def __call__(self, ranking: Ranking, query: Sequence[LocalFeatures], database: Sequence[LocalFeatures]) -> Ranking:
        check_inputs(ranking, query, database, needs="one LocalFeatures per image")
        if self.junk_rows is not None and len(self.junk_rows) != len(ranking):
            raise InputError(f"junk_rows has {len(self.junk_rows)} entries for {len(ranking)} queries")
        if not len(ranking):
            return ranking
        with one_thread_each() as threads, ThreadPoolExecutor(threads) as pool:
            numbers = range(len(ranking))
            inputs = ranking.indices.cpu(), ranking.scores.cpu(), (query[number] for number in numbers)
            results = list(pool.map(partial(self._rerank, database=database), numbers, *inputs))
        rows, scores = (torch.stack(part).to(ranking.indices.device) for part in zip(*results, strict=True))
        return Ranking(rows, scores)

    def verify(self, query: LocalFeatures, database: LocalFeatures) -> Verification:
        """Verify one pair of images.

        Raises:
            InputError: descriptors of different dimension, or values that are not finite.
        """
        return self.verify_many(query, [database])[0]

    def verify_many(self, query: LocalFeatures, database: Sequence[LocalFeatures]) -> list[Verification]:
        """Verify a query against several images, with the result that each has alone."""
        with one_thread_each():
            loaded = self._load(query)
            return self._estimate([self._match(loaded, candidate) for candidate in database])

    def _match(self, query: tuple[Tensor, Tensor], candidate: LocalFeatures) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The matches, and the points that are to be taken to which points."""
        points, descriptors = self._load(candidate)
        matches = match_descriptors(
            query[1], descriptors, max_distance=self.max_distance, max_ratio=self.max_ratio, mutual=self.mutual
        )
        one, other = query[0][matches[:, 0]], points[matches[:, 1]]
        return matches, (one, other) if self.direction == "query-to-database" else (other, one)

    def _estimate(self, matched: list[tuple[Tensor, tuple[Tensor, Tensor]]]) -> list[Verification]:
        enough = [number for number, (matches, _) in enumerate(matched) if len(matches) >= self.min_matches]
        masks = [torch.zeros(len(matches), dtype=torch.bool, device=matches.device) for matches, _ in matched]
        for number, mask in zip(enough, self.estimator.inliers([matched[n][1] for n in enough]), strict=True):
            masks[number] = mask
        return [Verification(matches, mask) for (matches, _), mask in zip(matched, masks, strict=True)]

    def _load(self, features: LocalFeatures) -> tuple[Tensor, Tensor]:
        if not isinstance(features, LocalFeatures):
            raise InputError(f"geometric verification compares LocalFeatures, got {type(features).__name__}")
        points, descriptors = features.keypoints.float(), features.descriptors
        if not bool(torch.isfinite(points).all()):
            raise InputError("keypoints hold values that are not finite; extract the local features again")
        if self.device is not None:
            points, descriptors = points.to(self.device), descriptors.to(self.device)
        return points, descriptors

    def _rerank(
        self, number: int, rows: Tensor, scores: Tensor, query: LocalFeatures, database: Sequence[LocalFeatures]
    ) -> tuple[Tensor, Tensor]:
        """The new rows and scores of one query."""
        order = rows.tolist()
        junk = set(self.junk_rows[number]) if self.junk_rows is not None else set()
        first = [place for place, row in enumerate(order) if self.junk != "remove" or row not in junk][: self.top_k]
        shown = [place for place in first if order[place] not in junk]
        loaded, matched = self._load(query), []
        for place in shown:
            try:
                with self._reading:
                    candidate = database[order[place]]
                matched.append(self._match(loaded, candidate))
            except InputError as error:
                raise InputError(f"query {number} against database row {order[place]}: {error}") from error
        verified = zip(shown, self._estimate(matched), strict=True)
        inliers = dict.fromkeys(first, 0) | {place: one.inliers for place, one in verified}

        places = sorted(first, key=lambda place: -inliers[place])
        others = torch.ones(len(order), dtype=torch.bool)
        others[places] = False
        fraction = {place: 1 - (count + 1) / (len(first) + 1) for count, place in enumerate(first)}
        new = torch.tensor([inliers[place] + fraction[place] for place in places])
        old = scores[others]
        return torch.cat((rows[places], rows[others])), torch.cat((new, old - old[:1]))
