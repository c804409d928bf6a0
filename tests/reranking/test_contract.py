"""What every registered re-ranker owes, whoever wrote it: the checks of ``retrieval-bench check reranker``."""

import pytest

from retrieval_bench import contracts
from retrieval_bench.reranking import list_rerankers


@pytest.mark.parametrize("which", contracts.check_names("reranker"))
@pytest.mark.parametrize("name", list_rerankers())
def test_contract(name: str, which: str) -> None:
    contracts.check("reranker", name, which)
