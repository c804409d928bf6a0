"""Which locations become local features, and where they lie."""

import math

import pytest
import torch
import torch.nn.functional as F

from retrieval_bench.methods.delg.selection import Selection, grid_keypoints, select
from retrieval_bench.pooling.attentive import LocalMaps

HALVING = Selection("halving", 260.0, 1000, 1.0)


def dense(scores: list[list[float]], seed: int = 0) -> LocalMaps:
    values = torch.tensor(scores)[None, None]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(1, 8, *values.shape[-2:], generator=generator)
    return LocalMaps(F.normalize(drawn, dim=1), values)


def rule(maximum: int = 1000, overlap: float = 1.0) -> Selection:
    return Selection("top", 0.0, maximum, overlap)


def test_top_takes_all():
    assert rule(2).passing(torch.tensor([0.0, 5.0, -1.0])).tolist() == [0, 1, 2]


def test_fixed_takes_those_of_at_least_the_threshold():
    chosen = Selection("fixed", 2.0, 1000, 1.0).passing(torch.tensor([1.999, 2.0, 2.001]))
    assert chosen.tolist() == [1, 2]


def test_halving_is_strict_at_every_threshold():
    sequence = [260 / 2**k for k in range(12)]
    assert sequence[-1] == 0.126953125
    for maximum, threshold in enumerate(sequence, start=1):
        # `maximum` scores lie just above this threshold and one lies on it: the halving ends here, without that one.
        scores = torch.tensor([threshold, *[math.nextafter(threshold, math.inf) + 1e-4] * maximum])
        chosen = Selection("halving", 260.0, maximum, 1.0).passing(scores)
        assert chosen.tolist() == list(range(1, maximum + 1)), threshold


def test_halving_ends_before_a_tenth():
    scores = torch.tensor([0.1269, 0.127, 0.11, 0.09, 300.0])
    assert HALVING.passing(scores).tolist() == [1, 4]


def test_halving_stops_as_soon_as_enough_pass():
    scores = torch.tensor([300.0, 200.0, 100.0, 1.0])
    assert Selection("halving", 260.0, 1, 1.0).passing(scores).tolist() == [0]
    assert Selection("halving", 260.0, 2, 1.0).passing(scores).tolist() == [0, 1]
    assert Selection("halving", 260.0, 3, 1.0).passing(scores).tolist() == [0, 1, 2]


def test_halving_goes_by_each_scale():
    strong, weak = dense([[300.0, 200.0]]), dense([[0.2, 0.15]])
    found = select([strong, weak], (1.0, 0.5), 0, 16, Selection("halving", 260.0, 1, 1.0))
    assert found.scores.tolist() == [300.0]
    found = select([strong, weak], (1.0, 0.5), 0, 16, Selection("halving", 260.0, 2, 1.0))
    assert found.scores.tolist() == [300.0, 200.0]


@pytest.mark.parametrize(("stride", "scale"), [(16, 1.0), (16, 0.5), (32, 1.4142)])
def test_keypoints_are_column_and_row_times_stride_over_scale(stride, scale):
    points = grid_keypoints(2, 3, stride, scale)
    expected = [(stride * column / scale, stride * row / scale) for row in range(2) for column in range(3)]
    torch.testing.assert_close(points, torch.tensor(expected))


def test_features_of_all_scales_by_falling_score():
    first, second = dense([[0.1, 0.9], [0.4, 0.2]]), dense([[0.5, 0.3]], seed=1)
    found = select([first, second], (1.0, 0.5), 0, 16, rule())
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert found.scales.tolist() == [1.0, 0.5, 1.0, 0.5, 1.0, 1.0]
    assert found.keypoints.tolist() == [[16, 0], [0, 0], [0, 16], [32, 0], [16, 16], [0, 0]]
    torch.testing.assert_close(found.descriptors[0], first.descriptors[0, :, 0, 1])
    torch.testing.assert_close(found.descriptors[1], second.descriptors[0, :, 0, 0])
    torch.testing.assert_close(found.descriptors[4], first.descriptors[0, :, 1, 1])


def test_the_best_are_kept():
    found = select([dense([[0.1, 0.9], [0.4, 0.2]])], (1.0,), 0, 16, rule(2))
    assert found.scores.tolist() == pytest.approx([0.9, 0.4])


def test_equal_scores_keep_their_order():
    found = select([dense([[0.5] * 40])], (1.0,), 0, 16, rule(30))
    assert found.keypoints[:, 0].tolist() == [16.0 * column for column in range(30)]


def test_each_image_of_a_batch_has_its_own():
    scores = torch.tensor([[[[0.1, 0.9]]], [[[0.8, 0.2]]]])
    maps = LocalMaps(F.normalize(torch.randn(2, 4, 1, 2, generator=torch.Generator().manual_seed(0)), dim=1), scores)
    found = [select([maps], (1.0,), image, 16, rule()) for image in range(2)]
    assert [features.keypoints[0].tolist() for features in found] == [[16, 0], [0, 0]]
    torch.testing.assert_close(found[1].descriptors[0], maps.descriptors[1, :, 0, 0])


def test_overlapping_fields_are_suppressed():
    """Neighbours at scale 1 overlap by 274 of 306 columns: 0.895; two apart by 258 of 322: 0.801."""
    maps = [dense([[0.9, 0.8, 0.7, 0.6]])]
    assert len(select(maps, (1.0,), 0, 16, rule(overlap=0.98))) == 4
    assert select(maps, (1.0,), 0, 16, rule(overlap=0.89)).keypoints[:, 0].tolist() == [0, 32]
    assert select(maps, (1.0,), 0, 16, rule(overlap=0.79)).keypoints[:, 0].tolist() == [0, 48]


def test_no_suppression_at_one():
    double = [dense([[0.9]]), dense([[0.8]])]
    assert len(select(double, (1.0, 1.0), 0, 16, rule(overlap=1.0))) == 2
    assert len(select(double, (1.0, 1.0), 0, 16, rule(overlap=0.98))) == 1


def test_none_passing_is_an_empty_list_of_features():
    found = select([dense([[0.1, 0.2]])], (1.0,), 0, 16, Selection("fixed", 5.0, 10, 1.0))
    assert len(found) == 0
    assert found.descriptors.shape == (0, 8)
    assert found.keypoints.shape == (0, 2)


def test_one_passing():
    found = select([dense([[0.1, 9.0]])], (1.0,), 0, 16, Selection("halving", 260.0, 1000, 0.98))
    assert found.scores.tolist() == [9.0]
