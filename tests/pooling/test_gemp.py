"""GeM+ against SuperGlobal's own numbers, and against its formula."""

from pathlib import Path

import pytest
import torch
from parity_case import load

from retrieval_bench.pooling.gem import GeM
from retrieval_bench.pooling.gemp import GeMPlus, mean_over_positions
from retrieval_bench.settings.errors import InputError

CASE = load(Path(__file__).parents[1] / "parity" / "superglobal" / "modules")


@pytest.mark.parametrize(("output", "p"), [("gemp", 4.6), ("gemp_p3", 3.0)])
def test_published_values(output, p):
    flat = torch.from_numpy(CASE.inputs["superglobal/flat"])
    pooled = GeMPlus(10, p)(flat.unflatten(2, (3, 7)))
    torch.testing.assert_close(pooled, torch.from_numpy(CASE.outputs[output])[..., 0], **CASE.tolerance)


def test_it_has_no_parameters():
    assert GeMPlus(8).state_dict() == {}


def test_the_mean_with_which_others_end():
    fixed, trained = mean_over_positions(8, "gemp", None), mean_over_positions(8, "gem", None)
    assert isinstance(fixed, GeMPlus)
    assert fixed.p == 4.6
    assert isinstance(trained, GeM)
    assert trained.p.item() == 3.0
    assert mean_over_positions(8, "gem", 2.5).p.item() == 2.5
    assert mean_over_positions(8, "gemp", 2.5).p == 2.5


@pytest.mark.parametrize("p", [0.0, -3.0, float("nan")])
def test_exponents_that_give_no_mean(p):
    with pytest.raises(InputError, match=r"pooling\.p.* must be positive"):
        GeMPlus(8, p)
    with pytest.raises(InputError, match=r"pooling\.p.* must be positive"):
        mean_over_positions(8, "gem", p)


def test_an_unknown_mean():
    with pytest.raises(InputError, match=r"'gemm'.*did you mean 'gem'"):
        mean_over_positions(8, "gemm", None)
