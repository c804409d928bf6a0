"""What every backbone owes, whoever wrote it; the checks are those of ``retrieval-bench check backbone``."""

from typing import Any

import pytest

from retrieval_bench import contracts
from retrieval_bench.backbones import BACKBONES

SMALLER: dict[str, dict[str, Any]] = {
    name: {"depths": [1, 1, 1, 1], "widths": [32, 32, 64, 64]} for name in ("ultron_s", "ultron_b")
}
"""Options with which a large one is checked in moments; as it is, it is checked in the slow suite."""

OF_TIMM = ("test_resnet", "test_vit")
"""One of each sort, of thousands."""


@pytest.mark.parametrize("which", contracts.check_names("backbone"))
@pytest.mark.parametrize("name", [*BACKBONES.names(), *OF_TIMM])
def test_contract(name: str, which: str) -> None:
    contracts.check("backbone", name, which, SMALLER.get(name))


@pytest.mark.slow
@pytest.mark.parametrize("which", contracts.check_names("backbone"))
@pytest.mark.parametrize("name", SMALLER)
def test_contract_of_the_whole_network(name: str, which: str) -> None:
    contracts.check("backbone", name, which)


@pytest.mark.slow
@pytest.mark.parametrize("which", contracts.slow_check_names("backbone"))
@pytest.mark.parametrize("name", [*BACKBONES.names(), *OF_TIMM])
def test_slow_contract(name: str, which: str) -> None:
    # Code is generated for every layer: many minutes for a whole network on few cores.
    contracts.check("backbone", name, which, SMALLER.get(name) if which == "inductor" else None)
