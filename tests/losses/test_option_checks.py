"""Numbers that would train on something else than they say are refused before the training."""

import math

import pytest

from retrieval_bench.losses import LOSSES
from retrieval_bench.settings.errors import InputError

WRONG = [
    ("arcface", {"margin": 28.6}, "margin is an angle in radians, .* got 28.6; 28.6 degrees are 0.4992"),
    ("arcface", {"margin": -0.1}, "margin is an angle in radians"),
    ("arcface", {"margin": math.nan}, "margin is an angle in radians"),
    ("arcface", {"scale": 0.0}, "scale must be positive and finite, got 0.0"),
    ("arcface", {"clamp": 1.0}, "clamp must lie between 0 and 1, got 1.0"),
    ("curricularface", {"margin": 8.6}, "8.6 degrees are 0.1501"),
    ("curricularface", {"momentum": 1.5}, "momentum must lie between 0 and 1, got 1.5"),
    ("curricularface", {"scale": math.nan}, "scale must be positive and finite, got nan"),
    ("cosface", {"margin": math.inf}, "margin must be finite, got inf"),
    ("cosface", {"scale": -1.0}, "scale must be positive"),
    ("normsoftmax", {"scale": math.inf}, "scale must be positive and finite, got inf"),
    ("madacos", {"minimum_scale": math.inf}, "minimum_scale must be positive and finite"),
    ("contrastive", {"margin": -1.0}, "margin must be at least 0 and finite, got -1.0"),
    ("contrastive", {"positive_margin": math.nan}, "positive_margin must be at least 0"),
    ("contrastive", {"negatives": 0}, "negatives must be at least 1 and finite, got 0"),
    ("triplet", {"margin": math.nan}, "margin must be at least 0"),
    ("triplet", {"negatives": -1}, "negatives must be at least 1"),
    ("multisimilarity", {"threshold": math.nan}, "threshold must be finite, got nan"),
    ("multisimilarity", {"beta": math.inf}, "beta must be positive and finite, got inf"),
    ("smoothap", {"temperature": math.inf}, "temperature must be positive and finite"),
    ("recallatk", {"form": "relased"}, "did you mean 'released'"),
]


@pytest.mark.parametrize(("name", "options", "said"), WRONG)
def test_refusal(name: str, options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        LOSSES.create(name, options, dim=4, num_classes=5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "options"), [("arcface", {"margin": 0.0}), ("contrastive", {"margin": 0.0})])
def test_least_values_are_taken(name: str, options: dict) -> None:
    LOSSES.create(name, options, dim=4, num_classes=5)
