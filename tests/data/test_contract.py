"""What every registered dataset owes, whoever wrote it; the checks are those of ``retrieval-bench check dataset``.

Datasets that have to be fetched are checked where they lie in the data folder, and left out elsewhere.
"""

import pytest

from retrieval_bench import contracts
from retrieval_bench.data.registry import list_datasets


@pytest.mark.parametrize("which", contracts.check_names("dataset"))
@pytest.mark.parametrize("name", list_datasets())
def test_contract(name: str, which: str) -> None:
    contracts.check("dataset", name, which)


@pytest.mark.parametrize("which", contracts.check_names("dataset"))
@pytest.mark.parametrize("name", ["folder", "synthetic"])
def test_what_needs_no_files_is_never_left_out(name: str, which: str) -> None:
    if (name, which) != ("folder", "labels"):
        assert [one.skipped for one in contracts.run("dataset", name, which=[which])] == [False]
