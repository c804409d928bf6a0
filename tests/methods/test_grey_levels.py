"""Resizing of whole grey levels equals OpenCV's."""

import cv2
import numpy as np
import pytest
import torch

from retrieval_bench.methods.grey_levels import area, bilinear, resize_grey_levels

SCALES = [0.7071, 0.5, 0.25, 0.3535, 0.9, 1.4142, 2.0, 1.1, 3.0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(150, 200), (181, 131), (7, 9), (37, 5)], ids=str)
def test_it_equals_opencv(size, scale):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    expected = cv2.resize(image, (0, 0), fx=scale, fy=scale, interpolation=kernel).astype(int)
    levels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    found = (area if scale < 1 else bilinear)(levels, scale, expected.shape[:2])[0].permute(1, 2, 0).numpy().astype(int)
    difference = np.abs(found - expected)
    # Means that fall on a half in exact arithmetic fall on either side of it in OpenCV's float sums.
    assert difference.max() <= (1 if scale < 1 else 0)
    assert (difference > 0).mean() < 0.01


def test_cells_of_a_known_image():
    levels = torch.tensor([[0.0, 100, 200, 50, 10]]).view(1, 1, 1, 5)
    # Cells of two pixels: (0, 100), (200, 50); the fifth pixel lies beyond the rounded side.
    assert area(levels, 0.5, (1, 2)).flatten().tolist() == [50, 125]
    # 87.5 becomes 87: products are cut off before the last rounding.
    assert bilinear(levels, 2.0, (2, 10))[0, 0, 0].tolist() == [0, 25, 75, 125, 175, 162, 87, 40, 20, 10]


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_one_pixel_stays_what_it_is(scale):
    image = torch.full((1, 3, 1, 1), 77 / 255)
    assert torch.equal(resize_grey_levels(image, scale, (1, 1)), image)


def test_values_between_grey_levels_are_rounded_first():
    image = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    whole = (image * 255).round() / 255
    assert torch.equal(resize_grey_levels(image, 0.7071, (14, 21)), resize_grey_levels(whole, 0.7071, (14, 21)))
