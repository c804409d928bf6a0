"""Is one run better than another? A paired permutation test over queries.

Under the hypothesis that the two runs are equally good, each query's difference is as likely to have the other sign
(Fisher's randomisation test; Smucker, Allan, Carterette, A Comparison of Statistical Significance Tests for Information
Retrieval Evaluation, CIKM 2007).
"""

from dataclasses import dataclass

import numpy as np

from retrieval_bench.settings.errors import InputError

EXACT_UP_TO = 16
"""All sign patterns are tried up to this many queries that differ (2^16), random ones beyond."""

_SIGNS_AT_A_TIME = 10_000_000


@dataclass(frozen=True)
class PairedTest:
    """What the test found.

    Attributes:
        difference: mean over queries of first minus second.
        p_value: two-sided, above 0 and at most 1.
        queries: how many queries both runs have a value for.
        exact: whether every sign pattern was tried.
    """

    difference: float
    p_value: float
    queries: int
    exact: bool


def paired_permutation_test(
    first: np.ndarray, second: np.ndarray, generator: np.random.Generator, *, permutations: int = 100_000
) -> PairedTest:
    """Two-sided sign-flip test on the mean difference.

    Exact, without chance, where at most `EXACT_UP_TO` queries differ. Otherwise by random sign patterns, with the
    observed one counted in: p = (b + 1) / (permutations + 1), so p is never 0 (Phipson, Smyth, Permutation P-values
    Should Never Be Zero, 2010).

    Args:
        first, second: ``(Q,)`` values per query, such as APs at one level, in the same order of queries; NaN in both
            where the query has no positives.
        generator: where random sign patterns come from.
        permutations: how many of them.

    Raises:
        InputError: different lengths, or a query that has a value in one run only: not the same ground truth.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise InputError(
            f"a paired test needs the same queries in both runs, got shapes {first.shape} and {second.shape}"
        )
    if permutations < 1:
        raise InputError(f"a permutation test needs at least 1 permutation, got {permutations}")
    one_sided = np.flatnonzero(np.isnan(first) != np.isnan(second))
    if one_sided.size:
        raise InputError(
            f"query {one_sided[0]} has a value in one run only; compare runs evaluated on the same ground truth"
        )
    difference = (first - second)[~np.isnan(first)]
    if difference.size == 0:
        return PairedTest(float("nan"), 1.0, 0, exact=True)
    # A query without a difference keeps its zero under either sign.
    moving = difference[difference != 0]
    # Sums of the same numbers in another order differ in the last bits and must count as equal.
    observed = abs(moving.sum()) - 1e-12 * np.abs(moving).sum()
    exact = moving.size <= EXACT_UP_TO
    if exact:
        patterns = np.arange(2**moving.size)[:, None] >> np.arange(moving.size) & 1
        p_value = float(np.mean(np.abs((1 - 2 * patterns) @ moving) >= observed))
    else:
        as_large = 0
        step = max(1, _SIGNS_AT_A_TIME // moving.size)
        for start in range(0, permutations, step):
            size = (min(step, permutations - start), moving.size)
            signs = 1 - 2 * generator.integers(2, size=size, dtype=np.int8)
            as_large += int(np.count_nonzero(np.abs(signs @ moving) >= observed))
        p_value = (as_large + 1) / (permutations + 1)
    return PairedTest(float(difference.mean()), p_value, difference.size, exact)
