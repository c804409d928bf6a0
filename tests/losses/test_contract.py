"""What every registered loss owes, whoever wrote it; the checks are those of ``retrieval-bench check loss``."""

import pytest

from retrieval_bench import contracts
from retrieval_bench.losses import list_losses


@pytest.mark.parametrize("which", contracts.check_names("loss"))
@pytest.mark.parametrize("name", list_losses())
def test_contract(name: str, which: str) -> None:
    contracts.check("loss", name, which)
