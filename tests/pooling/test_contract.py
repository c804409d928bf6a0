"""What every registered pooling owes, whoever wrote it; the checks are those of ``retrieval-bench check pooling``."""

import pytest

from retrieval_bench import contracts
from retrieval_bench.pooling import list_poolings


@pytest.mark.parametrize("which", contracts.check_names("pooling"))
@pytest.mark.parametrize("name", list_poolings())
def test_contract(name: str, which: str) -> None:
    contracts.check("pooling", name, which)


@pytest.mark.slow
@pytest.mark.parametrize("which", contracts.slow_check_names("pooling"))
@pytest.mark.parametrize("name", list_poolings())
def test_slow_contract(name: str, which: str) -> None:
    contracts.check("pooling", name, which)
