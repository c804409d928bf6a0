"""Local features that fit together."""

import pytest
import torch

from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.local_features import LocalFeatures


def features(keypoints=(4, 2), descriptors=(4, 8), scores=(4,), scales=(4,)):
    return LocalFeatures(*(torch.zeros(shape) for shape in (keypoints, descriptors, scores, scales)))


def test_its_length_is_the_number_of_features():
    assert len(features()) == 4


def test_none_at_all_is_allowed():
    assert len(features((0, 2), (0, 8), (0,), (0,))) == 0


@pytest.mark.parametrize("wrong", [{"keypoints": (4, 3)}, {"keypoints": (4,)}, {"descriptors": (4,)}])
def test_wrong_shapes_are_shown(wrong):
    with pytest.raises(InputError, match=r"keypoints \(L, 2\) and descriptors \(L, d\)") as caught:
        features(**wrong)
    assert str(next(iter(wrong.values()))) in str(caught.value)


@pytest.mark.parametrize("wrong", [{"descriptors": (5, 8)}, {"scores": (5,)}, {"scales": (5,)}])
def test_numbers_that_disagree_are_shown(wrong):
    with pytest.raises(InputError, match=r"disagree on their number: 4 keypoints.*\b5 "):
        features(**wrong)
