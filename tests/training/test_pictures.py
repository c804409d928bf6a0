"""Attention over images."""

import torch

from retrieval_bench.training.pictures import overlay


def test_images_are_dim_where_the_attention_is_low():
    images = torch.full((1, 3, 4, 8), 200, dtype=torch.uint8)
    scores = torch.zeros(1, 1, 1, 2)
    scores[..., 1] = 7.0
    drawn = overlay(images, scores)
    assert drawn.dtype == torch.uint8
    assert drawn.shape == images.shape
    assert drawn[0, :, :, 0].unique().tolist() == [40]
    assert drawn[0, :, :, -1].unique().tolist() == [200]


def test_the_brightest_place_of_each_image_is_untouched():
    images = torch.full((2, 3, 2, 2), 100, dtype=torch.uint8)
    scores = torch.tensor([1.0, 1000.0]).view(2, 1, 1, 1)
    assert torch.equal(overlay(images, scores), images)


def test_no_attention_at_all_is_finite():
    images = torch.full((1, 3, 2, 2), 100, dtype=torch.uint8)
    assert overlay(images, torch.zeros(1, 1, 1, 1)).unique().tolist() == [20]
