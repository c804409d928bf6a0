"""Numbers that would make NaN of some images are refused when the head is built."""

import pytest

from retrieval_bench.pooling.base import POOLINGS
from retrieval_bench.settings.errors import InputError


@pytest.mark.parametrize("name", ["gem", "gemmp", "gemp", "rmac", "regional", "simpool", "ultron"])
@pytest.mark.parametrize("eps", [0.0, -1e-6, float("nan"), float("inf")])
def test_eps_is_positive_and_finite(name: str, eps: float) -> None:
    with pytest.raises(InputError, match=r"pooling\.eps must be positive and finite, got") as caught:
        POOLINGS.create(name, {"eps": eps}, in_channels=4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["rmac", "regional"])
def test_levels_are_counted_from_one(name: str) -> None:
    with pytest.raises(InputError, match=r"pooling\.levels must be at least 1, got 0"):
        POOLINGS.create(name, {"levels": 0}, in_channels=4)


@pytest.mark.parametrize("name", ["gem", "gemmp", "gemp", "regional", "rgem", "solar"])
def test_an_infinite_exponent_has_no_gradient_and_names_the_maximum(name: str) -> None:
    with pytest.raises(InputError, match=r"pooling\.p, .* must be positive and finite, got inf; use pooling=mac"):
        POOLINGS.create(name, {"p": float("inf")}, in_channels=4)
