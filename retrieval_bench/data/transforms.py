"""Training and validation views of an image, on `uint8` tensors.

The operations and their order are torchvision's, as SpCa's loop uses them (``dataset/configdataset.py``): random
resized crop, horizontal flip, colour jitter; for validation a bicubic resize of the short side to 8/7 of the crop, then
the centre crop. Random numbers come from a generator of the image's own, so that a view depends on seed, epoch and
image and not on the worker that makes it. Normalisation belongs to the method.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as ops

from retrieval_bench.settings.recipe import Recipe

EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Of ImageNet's colours in RGB, [0, 1]; columns are vectors (Krizhevsky et al., NeurIPS 2012; values of pycls)."""


def view_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """The generator of the view that image `index` gets in `epoch`."""
    state = int(np.random.SeedSequence((seed, epoch, index)).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)


def train_view(image: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """A random view for training.

    Args:
        image: RGB `uint8` ``(3, H, W)``.
        recipe: crop, flip, jitter and lighting; ``S = recipe.image_size``.

    Returns:
        RGB `uint8` ``(3, S, S)``.
    """
    top, left, height, width = random_crop(image.shape[-2:], recipe.crop_scale, recipe.crop_ratio, generator)
    side = [recipe.image_size, recipe.image_size]
    view = ops.resized_crop(image, top, left, height, width, side, InterpolationMode.BILINEAR, antialias=True)
    if _uniform(0, 1, generator) < recipe.flip:
        view = ops.horizontal_flip(view)
    if _uniform(0, 1, generator) < recipe.jitter:
        view = colour_jitter(view, recipe.jitter_strength, generator)
    return pca_lighting(view, recipe.lighting, generator) if recipe.lighting else view


def validation_view(image: Tensor, side: int) -> Tensor:
    """The centre of an image: RGB `uint8` ``(3, H, W)`` to ``(3, side, side)``."""
    short = [int(side * 8 / 7)]
    return ops.center_crop(ops.resize(image, short, InterpolationMode.BICUBIC, antialias=True), [side, side])


def random_crop(
    size: tuple[int, int] | torch.Size,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop (Inception; Szegedy et al., CVPR 2015, in torchvision's form).

    Area uniform in `scale` of the image, aspect ratio log-uniform in `ratio`, ten attempts; then the largest centre
    crop whose ratio is allowed.

    Args:
        size: height and width of the image.
    """
    rows, columns = size
    for _ in range(10):
        area = rows * columns * _uniform(*scale, generator)
        aspect = math.exp(_uniform(math.log(ratio[0]), math.log(ratio[1]), generator))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= columns and 0 < height <= rows:
            return _integer(rows - height + 1, generator), _integer(columns - width + 1, generator), height, width
    width = min(columns, max(round(rows * ratio[1]), 1))
    height = min(rows, max(round(columns / ratio[0]), 1))
    return (rows - height) // 2, (columns - width) // 2, height, width


def colour_jitter(image: Tensor, strength: tuple[float, float, float, float], generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue changed at random, in random order.

    Args:
        image: RGB `uint8` ``(3, H, W)``.
        strength: factors of the first three are uniform in [max(0, 1 - s), 1 + s], the hue's shift in [-s, s] turns.
    """
    brightness, contrast, saturation, hue = strength
    for operation in torch.randperm(4, generator=generator).tolist():
        if operation == 0 and brightness:
            image = ops.adjust_brightness(image, _uniform(max(0.0, 1 - brightness), 1 + brightness, generator))
        elif operation == 1 and contrast:
            image = ops.adjust_contrast(image, _uniform(max(0.0, 1 - contrast), 1 + contrast, generator))
        elif operation == 2 and saturation:
            image = ops.adjust_saturation(image, _uniform(max(0.0, 1 - saturation), 1 + saturation, generator))
        elif operation == 3 and hue:
            image = ops.adjust_hue(image, _uniform(-hue, hue, generator))
    return image


def pca_lighting(image: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """One random shift of colour along the principal components of ImageNet's.

    Args:
        image: RGB `uint8` ``(3, H, W)``.
        deviation: of the normal factors of the eigenvalues; 0.1 in pycls and what descends from it.
    """
    factors = deviation * torch.randn(3, generator=generator) * torch.tensor(EIGENVALUES)
    shift = 255 * (torch.tensor(EIGENVECTORS) @ factors)
    return (image + shift.view(3, 1, 1)).round().clamp(0, 255).to(torch.uint8)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _integer(stop: int, generator: torch.Generator) -> int:
    return int(torch.randint(stop, (), generator=generator))
