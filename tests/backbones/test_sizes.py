"""Rules about image sizes: what they pad, what they cut, and how they are found."""

import pytest
import torch

from retrieval_bench.backbones.sizes import ANY, SizeRule, find_rule, fits


@pytest.mark.parametrize(
    ("rule", "length", "expected"),
    [
        (SizeRule(), 1, 1),
        (SizeRule(), 515, 515),
        (SizeRule(16), 1, 16),
        (SizeRule(16), 16, 16),
        (SizeRule(16), 17, 32),
        (SizeRule(1, 32), 8, 32),
        (SizeRule(1, 32), 33, 33),
        (SizeRule(8, 64), 9, 64),
        (SizeRule(8, 64), 65, 72),
    ],
)
def test_side(rule: SizeRule, length: int, expected: int) -> None:
    assert rule.side(length) == expected


def test_zeros_are_added_at_the_bottom_and_on_the_right() -> None:
    images = torch.ones(2, 3, 5, 16)
    padded = SizeRule(8, 16).pad(images)
    assert padded.shape == (2, 3, 16, 16)
    assert torch.equal(padded[:, :, :5], images)
    assert padded.sum() == images.sum()


def test_nothing_happens_where_any_size_is_taken() -> None:
    images = torch.ones(2, 3, 5, 16)
    assert ANY.pad(images) is images
    assert ANY.cut(images, 4, 1, 1) is images


@pytest.mark.parametrize(("height", "width", "expected"), [(1, 1, (1, 1)), (33, 64, (5, 8)), (128, 97, (16, 13))])
def test_positions_of_padding_alone_are_cut(height: int, width: int, expected: tuple[int, int]) -> None:
    rule = SizeRule(128)
    images = rule.pad(torch.ones(1, 3, height, width))
    assert images.shape[-2:] == (128, 128)
    assert rule.cut(images[..., ::8, ::8], 8, height, width).shape[-2:] == expected


@pytest.mark.parametrize(
    ("takes", "expected"),
    [
        (lambda h, w: True, SizeRule()),
        (lambda h, w: h >= 32 and w >= 32, SizeRule(1, 32)),
        (lambda h, w: h >= 75 and w >= 75, SizeRule(1, 96)),
        (lambda h, w: h % 4 == 0 and w % 4 == 0, SizeRule(4)),
        (lambda h, w: h % 4 == 0 and w % 4 == 0 and min(h, w) >= 20, SizeRule(4, 32)),
        (lambda h, w: h % 32 == 0 and w % 32 == 0, SizeRule(32)),
        (lambda h, w: h % 224 == 0 and w % 224 == 0, SizeRule(224)),
        (lambda h, w: (h, w) == (224, 224), None),
        (lambda h, w: h <= 224 and w <= 224, None),
        (lambda h, w: False, None),
    ],
)
def test_the_rule_that_pads_least_is_found(takes, expected) -> None:
    assert find_rule(takes, (4, 8, 16, 32), (224, 224)) == expected


def test_windows_of_a_size_that_is_not_square_have_no_rule() -> None:
    assert find_rule(lambda h, w: h % 224 == 0 and w % 448 == 0, (4, 8, 16, 32), (224, 448)) is None


@pytest.mark.parametrize(
    ("shape", "fit"),
    [
        ((1, 64, 7, 9), True),
        ((1, 64, 6, 8), True),
        ((1, 64, 9, 7), False),
        ((1, 32, 7, 9), False),
        ((1, 63, 64), False),
        ((1, 64, 14, 14), False),
        ((1, 64, 0, 9), False),
    ],
)
def test_maps_that_one_expects(shape: tuple[int, ...], fit: bool) -> None:
    assert fits(shape, 64, 16, 97, 200 if shape[-1] == 7 else 130) is fit
