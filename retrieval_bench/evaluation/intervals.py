"""Bootstrap intervals of a mean over queries (Efron, Bootstrap Methods, Annals of Statistics 1979; percentile
method)."""

import numpy as np

from retrieval_bench.settings.errors import InputError

_DRAWS_AT_A_TIME = 10_000_000


def bootstrap_interval(
    values: np.ndarray, generator: np.random.Generator, *, confidence: float = 0.95, resamples: int = 10_000
) -> tuple[float, float]:
    """Interval of the mean when the queries are taken as a sample of all queries one could ask.

    Queries without positives have no value (NaN). They are left out before drawing, so that every resample has as many
    queries as the mean itself.

    Args:
        values: ``(Q,)``, such as the APs at one level. For the difference of two runs give their differences per query.
        generator: where the draws come from; the same state gives the same interval.
        confidence: share of resampled means between the two ends, within (0, 1).
        resamples: how often the queries are drawn anew.

    Returns:
        Lower and upper end; NaN and NaN where no query has a value.

    Raises:
        InputError: a confidence outside (0, 1), or no resamples.
    """
    if not 0 < confidence < 1:
        raise InputError(f"the confidence of an interval must lie between 0 and 1, got {confidence}")
    if resamples < 1:
        raise InputError(f"a bootstrap needs at least 1 resample, got {resamples}")
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    means = np.empty(resamples)
    step = max(1, _DRAWS_AT_A_TIME // values.size)
    for start in range(0, resamples, step):
        part = means[start : start + step]
        part[:] = values[generator.integers(values.size, size=(part.size, values.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
