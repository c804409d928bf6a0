"""What every registered batch attention owes, whoever wrote it; the checks are those of ``retrieval-bench check``."""

import pytest

from retrieval_bench import contracts
from retrieval_bench.batch_attention import list_batch_attentions


def test_there_are_both() -> None:
    assert {"batchformer", "batchtransformer"} <= set(list_batch_attentions())


@pytest.mark.parametrize("which", contracts.check_names("batch_attention"))
@pytest.mark.parametrize("name", list_batch_attentions())
def test_contract(name: str, which: str) -> None:
    contracts.check("batch_attention", name, which)


@pytest.mark.slow
@pytest.mark.parametrize("which", contracts.slow_check_names("batch_attention"))
@pytest.mark.parametrize("name", list_batch_attentions())
def test_slow_contract(name: str, which: str) -> None:
    contracts.check("batch_attention", name, which)
