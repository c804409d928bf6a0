"""Views: right shapes, torchvision's operations, and randomness that belongs to the image."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from retrieval_bench.data.transforms import (
    EIGENVALUES,
    EIGENVECTORS,
    colour_jitter,
    pca_lighting,
    random_crop,
    train_view,
    validation_view,
    view_generator,
)
from retrieval_bench.settings.recipe import Recipe

IMAGE = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 60, 90), dtype=np.uint8))
RECIPE = Recipe(image_size=32)


def test_a_view_depends_on_seed_epoch_and_index_only():
    first = train_view(IMAGE, RECIPE, view_generator(0, 1, 2))
    torch.rand(7)
    torch.testing.assert_close(train_view(IMAGE, RECIPE, view_generator(0, 1, 2)), first, rtol=0, atol=0)
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not torch.equal(train_view(IMAGE, RECIPE, view_generator(*other)), first)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    train_view(IMAGE, RECIPE, view_generator(0, 0, 0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (5, 200), (1, 1), (32, 32)])
def test_views_are_uint8_squares(size):
    image = IMAGE.repeat(1, 2, 3)[:, : size[0], : size[1]]
    assert image.shape[1:] == size
    for view in (train_view(image, RECIPE, view_generator(0, 0, 0)), validation_view(image, 32)):
        assert view.shape == (3, 32, 32)
        assert view.dtype == torch.uint8


def test_the_plain_recipe_is_a_resize():
    recipe = Recipe(image_size=30, crop_scale=(1, 1), crop_ratio=(1.5, 1.5), flip=0, jitter=0)
    expected = v2.functional.resize(IMAGE, [30, 30], antialias=True)
    assert torch.equal(train_view(IMAGE, recipe, view_generator(0, 0, 0)), expected)
    flipped = train_view(IMAGE, recipe.model_copy(update={"flip": 1.0}), view_generator(0, 0, 0))
    assert torch.equal(flipped, expected.flip(-1))


def test_validation_view_is_spcas():
    expected = v2.Compose([v2.Resize(int(42 * 8 / 7), v2.InterpolationMode.BICUBIC), v2.CenterCrop(42)])(IMAGE)
    assert torch.equal(validation_view(IMAGE, 42), expected)


def test_crops_have_the_distribution_of_torchvision():
    generator = torch.Generator().manual_seed(0)
    ours = np.array([random_crop((300, 500), (0.2, 1.0), (3 / 4, 4 / 3), generator) for _ in range(1500)])
    top, left, height, width = ours.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 300).all()
    assert (left + width <= 500).all()
    torch.manual_seed(0)
    params = v2.RandomResizedCrop(32, (0.2, 1.0), (3 / 4, 4 / 3)).make_params
    theirs = [params([torch.empty(3, 300, 500)]) for _ in range(1500)]
    for ours_column, key in zip(ours.T, ("top", "left", "height", "width"), strict=True):
        expected = np.array([crop[key] for crop in theirs])
        spread = expected.std() / math.sqrt(len(expected))
        assert abs(ours_column.mean() - expected.mean()) < 6 * spread, key
        np.testing.assert_allclose(np.quantile(ours_column, 0.9), np.quantile(expected, 0.9), rtol=0.05)


@pytest.mark.parametrize(("size", "crop"), [((10, 400), (10, 13)), ((400, 10), (13, 10))])
def test_a_crop_that_never_fits_falls_back_to_the_centre(size, crop):
    top, left, height, width = random_crop(size, (0.9, 1.0), (3 / 4, 4 / 3), torch.Generator().manual_seed(0))
    assert (height, width) == crop
    assert (top, left) == ((size[0] - height) // 2, (size[1] - width) // 2)


def test_jitter_of_no_strength_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(colour_jitter(IMAGE, (0, 0, 0, 0), generator), IMAGE)
    assert not torch.equal(colour_jitter(IMAGE, (0.4, 0, 0, 0), generator), IMAGE)


@pytest.mark.parametrize("which", range(4))
def test_each_jitter_is_torchvisions_operation_within_its_range(which):
    strength = [0.0] * 4
    strength[which] = 0.3
    adjust = [
        v2.functional.adjust_brightness,
        v2.functional.adjust_contrast,
        v2.functional.adjust_saturation,
        v2.functional.adjust_hue,
    ][which]
    low, high = (-0.3, 0.3) if which == 3 else (0.7, 1.3)
    generator = torch.Generator().manual_seed(3)
    jittered = colour_jitter(IMAGE, tuple(strength), generator)
    replay = torch.Generator().manual_seed(3)
    torch.randperm(4, generator=replay)
    factor = low + (high - low) * float(torch.rand((), generator=replay))
    assert torch.equal(jittered, adjust(IMAGE, factor))


def test_lighting_shifts_all_pixels_along_the_colours_of_imagenet():
    grey = torch.full((3, 4, 4), 128, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    shifts = torch.stack([pca_lighting(grey, 0.1, generator).float() - 128 for _ in range(3000)])
    assert (shifts == shifts[..., :1, :1]).all()
    vectors, values = torch.tensor(EIGENVECTORS), torch.tensor(EIGENVALUES)
    expected = (255 * 0.1) ** 2 * vectors @ values.square().diag() @ vectors.T
    torch.testing.assert_close(shifts[..., 0, 0].T.cov(), expected, rtol=0.1, atol=0.2)
    assert shifts.mean() == pytest.approx(0, abs=0.4)


def test_lighting_is_off_where_the_recipe_has_none():
    plain = train_view(IMAGE, RECIPE, view_generator(0, 0, 0))
    lit = train_view(IMAGE, RECIPE.model_copy(update={"lighting": 0.5}), view_generator(0, 0, 0))
    assert not torch.equal(lit, plain)
    white = torch.full((3, 2, 2), 255, dtype=torch.uint8)
    assert pca_lighting(white, 5.0, torch.Generator().manual_seed(1)).dtype == torch.uint8
