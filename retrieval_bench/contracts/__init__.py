"""What every part owes, as checks: the same for built-in parts and for a user's own.

``retrieval-bench check pooling my_gem`` runs them; the test suite runs them for every registered part. A test of one's
own needs three lines::

    @pytest.mark.parametrize("which", contracts.check_names("pooling"))
    def test_contract(which):
        contracts.check("pooling", "my_gem", which)
"""

from retrieval_bench.contracts.checking import (
    KINDS,
    Outcome,
    check,
    check_names,
    describe,
    outcomes,
    run,
    slow_check_names,
)

__all__ = ["KINDS", "Outcome", "check", "check_names", "describe", "outcomes", "run", "slow_check_names"]
