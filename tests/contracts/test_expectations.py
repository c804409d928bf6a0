"""What a check says of two tensors that should be one."""

import pytest
import torch

from retrieval_bench.contracts.expectations import Broken, require_close, require_equal

ONES = torch.ones(4)
NAN = torch.tensor([1.0, float("nan"), 1.0, float("nan")])


@pytest.mark.parametrize("require", [require_close, require_equal])
@pytest.mark.parametrize(("one", "other", "counts"), [(NAN, NAN, (2, 2)), (NAN, ONES, (2, 0)), (ONES, NAN, (0, 2))])
def test_nan_is_said_plainly(require, one, other, counts):
    with pytest.raises(Broken) as broken:
        require(one, other, "a and b")
    said = f"{counts[0]} values of the first are NaN and {counts[1]} of the second, of 4 each"
    assert str(broken.value) == f"a and b: {said}"


def test_the_worst_value_is_named():
    with pytest.raises(Broken, match=r"a and b: they differ by 0.5 \(1.5 is not 1\)"):
        require_close(torch.tensor([1.1, 1.5]), torch.ones(2), "a and b")


def test_infinity_is_a_difference():
    with pytest.raises(Broken, match=r"they differ by inf \(inf is not 1\)"):
        require_close(torch.tensor([1.0, float("inf")]), torch.ones(2), "a and b")
