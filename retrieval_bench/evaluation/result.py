"""`Result`: the figures of one ranking, all derived from one table with a row per query."""

from collections.abc import Mapping, Sequence

import pandas as pd

from retrieval_bench.evaluation.revisited import POSITIVES


class Result:
    """Figures of the Revisited protocol. All are fractions, 0 to 1.

    Attributes:
        per_query: a row per query with `n_easy`, `n_hard`, `n_junk` and, for each level, `ap_<level>` and
            `p<k>_<level>`; NaN where the query has no positives at that level.
        kappas: the cut-offs k of P@k.
    """

    def __init__(self, per_query: pd.DataFrame, kappas: Sequence[int]):
        self.per_query = per_query
        self.kappas = tuple(kappas)

    @property
    def map_easy(self) -> float:
        """Mean AP over the queries that have easy positives; NaN where none has."""
        return self._mean("ap_easy")

    @property
    def map_medium(self) -> float:
        """Mean AP over the queries that have easy or hard positives; NaN where none has."""
        return self._mean("ap_medium")

    @property
    def map_hard(self) -> float:
        """Mean AP over the queries that have hard positives; NaN where none has."""
        return self._mean("ap_hard")

    @property
    def mean_precision_at(self) -> dict[str, dict[int, float]]:
        """Mean P@k as ``[level][k]``, over the same queries as the mean AP of the level."""
        return {level: {k: self._mean(f"p{k}_{level}") for k in self.kappas} for level in POSITIVES}

    @property
    def queries(self) -> dict[str, int]:
        """How many queries have positives at each level: the number of terms in its means."""
        return {level: int(self.per_query[f"ap_{level}"].count()) for level in POSITIVES}

    def as_dict(self) -> dict[str, float]:
        """All means by name, flat, as a logger takes them: `map_easy`, `mp1_easy`, `mp5_easy` ..."""
        figures: dict[str, float] = {}
        for level in POSITIVES:
            figures[f"map_{level}"] = self._mean(f"ap_{level}")
            figures |= {f"mp{k}_{level}": self._mean(f"p{k}_{level}") for k in self.kappas}
        return figures

    @classmethod
    def of_levels(cls, results: Mapping[str, "Result"]) -> "Result":
        """The figures of each level from the result of that level: for rankings that are made level by level.

        Args:
            results: of ``easy``, ``medium`` and ``hard``, over the same queries and ground truth.
        """
        first = results["medium"]
        columns = {level: [f"ap_{level}", *(f"p{k}_{level}" for k in first.kappas)] for level in POSITIVES}
        per_query = first.per_query.copy()
        for level, names in columns.items():
            per_query[names] = results[level].per_query[names]
        return cls(per_query, first.kappas)

    def __repr__(self) -> str:
        levels = ", ".join(f"{level} {100 * self._mean(f'ap_{level}'):.2f}" for level in POSITIVES)
        return f"Result(mAP: {levels}; {len(self.per_query)} queries)"

    def _mean(self, column: str) -> float:
        return float(self.per_query[column].mean(skipna=True))
