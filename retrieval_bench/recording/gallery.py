"""What the report draws of each query: its best candidates, and the positives that were found last."""

from collections.abc import Callable

from retrieval_bench.settings.record import Candidate, Gallery, GalleryRow
from retrieval_bench.values.dataset import GroundTruth, RetrievalDataset
from retrieval_bench.values.ranking import Ranking

Points = list[tuple[float, float]]
Verify = Callable[[int, int], tuple[Points, Points]]
"""(query, database row) -> verified keypoints in the query crop and their partners in the database image."""

BEST, MISSED, DRAWN = 10, 5, 2
"""Candidates per query, missed positives, candidates with drawn matches."""


def gallery(
    dataset: RetrievalDataset, ranking: Ranking, before: Ranking | None = None, verify: Verify | None = None
) -> Gallery:
    """Rows for the report.

    Args:
        dataset: what was asked.
        ranking: the last stage.
        before: the ranking before re-ranking.
        verify: gives matched keypoints of a pair; None draws none.
    """
    return Gallery(
        rows=[_row(dataset, query, ranking, before, verify) for query in range(len(ranking))],
    )


def relations(ground_truth: GroundTruth, query: int) -> dict[int, str]:
    """Database row -> ``easy``, ``hard`` or ``junk`` for one query; rows that are absent are negatives."""
    entry = ground_truth[query]
    return {row: level for level in ("junk", "hard", "easy") for row in entry.get(level, [])}


def _row(
    dataset: RetrievalDataset, query: int, ranking: Ranking, before: Ranking | None, verify: Verify | None
) -> GalleryRow:
    rows, scores = ranking.indices[query].tolist(), ranking.scores[query].tolist()
    positions = {row: place for place, row in enumerate(rows)}
    earlier = {} if before is None else {row: place for place, row in enumerate(before.indices[query].tolist())}
    relation = relations(dataset.ground_truth, query)
    # In leave-one-out the query stands in the database as junk: it would only show itself.
    name = dataset.queries.names[query]
    shown = [row for row in rows if relation.get(row) != "junk" or dataset.database.names[row] != name]
    best = shown[:BEST]
    missed = [row for row in shown[BEST:] if relation.get(row) in ("easy", "hard")]

    def candidate(row: int, *, draw: bool) -> Candidate:
        query_points, database_points = verify(query, row) if draw and verify is not None else ([], [])
        return Candidate(
            name=dataset.database.names[row],
            path=str(dataset.database.paths[row].resolve()),
            position=positions[row],
            before=earlier.get(row),
            score=scores[positions[row]],
            relation=relation.get(row, "negative"),
            query_points=query_points,
            database_points=database_points,
        )

    return GalleryRow(
        query=dataset.queries.names[query],
        path=str(dataset.queries.paths[query].resolve()),
        box=dataset.queries.boxes[query],
        best=[candidate(row, draw=place < DRAWN) for place, row in enumerate(best)],
        missed=[candidate(row, draw=False) for row in missed[-MISSED:]],
    )
