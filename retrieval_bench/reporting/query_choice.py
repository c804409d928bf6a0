"""Which queries the gallery shows, and in which order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class QuerySection:
    """Queries shown under one heading; `title` is empty where all queries are shown."""

    title: str
    queries: tuple[str, ...]


def choose_queries(average_precision: Mapping[str, float | None], most: int) -> list[QuerySection]:
    """Worst first. Of more than `most` queries: the worst third, the middle third around the median, the best third.

    Args:
        average_precision: by query, fractions; None or NaN where the query has no positives. Those come last, and
            are left out where not all queries fit.
        most: queries shown at most, at least 1.

    Raises:
        ValueError: `most` is below 1.
    """
    if most < 1:
        raise ValueError(f"a gallery shows at least one query, not {most}")
    known = {query: value for query, value in average_precision.items() if value is not None and not math.isnan(value)}
    ordered = sorted(known, key=lambda query: (known[query], query))
    without = sorted(set(average_precision) - set(known))
    if len(average_precision) <= most:
        return [QuerySection("", tuple(ordered + without))]
    if len(ordered) <= most:
        return [QuerySection("", tuple(ordered + without[: most - len(ordered)]))]
    outer = most // 3
    middle = most - 2 * outer
    start = (len(ordered) - middle) // 2
    sections = [
        _section("Worst", ordered[:outer]),
        _section("Around the median", ordered[start : start + middle]),
        _section("Best", ordered[len(ordered) - outer :]),
    ]
    return [section for section in sections if section.queries]


def _section(title: str, queries: Sequence[str]) -> QuerySection:
    return QuerySection(f"{title}: {len(queries)} {'query' if len(queries) == 1 else 'queries'}", tuple(queries))
