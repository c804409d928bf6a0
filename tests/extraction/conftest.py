"""A small describing model and images drawn by code."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.values.dataset import ImageList
from retrieval_bench.values.features import Features
from retrieval_bench.values.local_features import LocalFeatures


class OneLayer(RetrievalModule):
    """One convolution, mean pooling, unit norm; counts the images it is fed."""

    has_local_features = True

    def __init__(self, seed: int = 0, protocol: Protocol | None = None, **settings: Any):
        super().__init__(method="one-layer", settings=settings, protocol=protocol or Protocol(image_size=40))
        self.layer = nn.Conv2d(3, 16, 3, padding=1)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.layer.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.fed = 0
        self.shapes: list[tuple[int, ...]] = []

    @property
    def descriptor_dim(self) -> int:
        return 16

    def features(self, images: Tensor) -> Features:
        return Features((self.layer(images).relu(),))

    def head(self, features: Features) -> Tensor:
        return features.maps[-1].mean(dim=(2, 3))

    def training_losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        raise NotImplementedError

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Any]:
        self.fed += len(batch["images"])
        self.shapes.append(tuple(batch["images"].shape))
        return super().predict_step(batch, batch_idx)

    def local_features(self, images: Tensor) -> list[LocalFeatures]:
        """Two features more than the mean red tens: the far corner of the image first, then along its top edge."""
        found = []
        for image, vector in zip(images, self.describe(images), strict=True):
            count = 2 + int(image[0].float().mean()) // 10
            height, width = image.shape[-2:]
            keypoints = torch.stack([torch.linspace(width, 0, count), torch.linspace(height, 0, count)], dim=1)
            scores = torch.linspace(1, 0.5, count)
            found.append(LocalFeatures(keypoints, vector.expand(count, -1), scores, torch.full((count,), 0.5)))
        return found


SIZES = [(60, 40), (40, 60), (30, 30)]


def draw(path: Path, seed: int, size: tuple[int, int]) -> Path:
    """A noise image of its own mean colour; `size` is width, height."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 90, (size[1], size[0], 3)) + rng.integers(0, 160, 3)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Many threads only get into each other's way on images this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def images(tmp_path: Path) -> ImageList:
    """Twenty images of three shapes, mixed; every fifth with a box."""
    paths = [draw(tmp_path / f"image{row}.png", row, SIZES[row % 3]) for row in range(20)]
    boxes = [(2.0, 3.0, 26.0, 28.0) if row % 5 == 4 else None for row in range(20)]
    return ImageList([path.stem for path in paths], paths, boxes)


@pytest.fixture
def make_model() -> Callable[..., OneLayer]:
    """Build a `OneLayer` in eval mode."""
    return lambda *arguments, **options: OneLayer(*arguments, **options).eval()


@pytest.fixture
def truncate() -> Callable[[Path], None]:
    """Cut an image file in half: the header stays whole, the pixels do not."""

    def cut(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return cut
