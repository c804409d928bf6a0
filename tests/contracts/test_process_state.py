"""What belongs to the whole process is watched, and put back after a check."""

import random

import numpy as np
import pytest
import torch

from retrieval_bench import contracts
from retrieval_bench.contracts.expectations import Broken
from retrieval_bench.contracts.process_state import process_state_kept
from retrieval_bench.losses import ClassificationLoss

CHANGES = {
    "torch's random numbers": (lambda: torch.rand(1), lambda: torch.manual_seed(0)),
    "numpy's random numbers": (lambda: np.random.rand(), lambda: np.random.seed(0)),  # noqa: NPY002
    "Python's random numbers": (random.random, lambda: random.seed(0)),
    "torch's number of threads": (lambda: torch.set_num_threads(torch.get_num_threads() + 1),),
    "torch's default dtype": (lambda: torch.set_default_dtype(torch.float64),),
    "whether gradients are recorded": (lambda: torch.set_grad_enabled(False),),
}


@pytest.fixture(autouse=True)
def restored():
    kept = torch.get_num_threads(), random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        yield
    torch.set_num_threads(kept[0])
    torch.set_default_dtype(torch.float32)
    random.setstate(kept[1])
    np.random.set_state(kept[2])  # noqa: NPY002


@pytest.mark.parametrize(("said", "change"), [(said, one) for said, changes in CHANGES.items() for one in changes])
def test_a_change_is_told(said, change):
    # A part that sets what is set already is told, too.
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    with pytest.raises(Broken, match=f"it changes {said}, on which"), process_state_kept():
        change()


def test_what_the_process_draws_next_is_what_it_would_have_drawn():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    with process_state_kept():
        pass
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002


def test_generators_of_ones_own_are_let_be():
    with process_state_kept():
        torch.rand(3, generator=torch.Generator().manual_seed(0))
        np.random.default_rng(0).random()
        random.Random(0).random()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)


def test_a_check_puts_back_what_a_part_changed(register):
    class Threads(ClassificationLoss):
        """Sets what is not its own."""

        def __init__(self, dim: int, num_classes: int):
            super().__init__(dim, num_classes, 20.0)

        def margin_logits(self, cosines, labels):
            torch.set_num_threads(torch.get_num_threads() + 1)
            torch.set_default_dtype(torch.float64)
            return cosines

    before = torch.get_num_threads()
    outcomes = contracts.run("loss", register("loss", Threads), which=["builds", "input-untouched"])
    assert "torch's number of threads and torch's default dtype" in outcomes[1].reason
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (before, torch.float32)
