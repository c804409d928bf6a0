"""Four classes of drawn images, a network that learns them in seconds, and one training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import retrieval_bench as rb
from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import RuntimeSettings
from retrieval_bench.training.fit import Trained, fit
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset

CLASSES = ("stripes", "columns", "checks", "disc")
SIDE = 32
RUNTIME = RuntimeSettings(accelerator="cpu", workers=0)


def draw(path: Path, kind: str, rng: np.random.Generator) -> Path:
    """One pattern in random colours, phase and noise."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + rng.integers(0, 8, 2)[:, None, None]
    mask = {
        "stripes": rows // 4 % 2,
        "columns": columns // 4 % 2,
        "checks": (rows // 4 + columns // 4) % 2,
        "disc": (rows - 20) ** 2 + (columns - 20) ** 2 < 80,
    }[kind]
    dark, light = rng.integers(0, 90, 3), rng.integers(160, 255, 3)
    pixels = np.where(mask[..., None], light, dark) + rng.normal(0, 8, (SIDE, SIDE, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> RetrievalDataset:
    """Six images per class to train on, and three of each as validation classes of their own."""
    folder, rng = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)

    def labelled(count: int, name: str, classes: list[str]) -> LabelledImages:
        paths = [draw(folder / f"{name}{k}{n}.png", k, rng) for k in CLASSES for n in range(count)]
        return LabelledImages(paths, [row // count for row in range(len(paths))], classes)

    train = labelled(6, "train", list(CLASSES))
    validation = labelled(3, "held", [f"other {kind}" for kind in CLASSES])
    images = ImageList(["a"], [train.paths[0]])
    return RetrievalDataset("drawn", folder, images, images, [{"easy": [0]}], train, validation)


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """A recipe for a few seconds; whatever is given comes first."""

    def make(**given: Any) -> Recipe:
        values: dict[str, Any] = {
            "epochs": 2,
            "batch_size": 8,
            "image_size": SIDE,
            "lr": 0.05,
            "warmup_epochs": 0,
            "crop_scale": (0.6, 1.0),
            "jitter": 0.0,
            "flip": 0.0,
        }
        return Recipe(**(values | given))

    return make


@pytest.fixture
def build() -> Callable[..., RetrievalModule]:
    """A method with a tiny backbone for the drawn classes, from a seed."""

    def make(method: str, recipe: Recipe, seed: int = 0, **given: Any) -> RetrievalModule:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            options = {"backbone": "test_resnet", "dim": 16, "num_classes": len(CLASSES)}
            model = rb.create_model(method, **(options | given))
        model.recipe = recipe
        return model

    return make


@pytest.fixture
def train(dataset: RetrievalDataset) -> Callable[..., Trained]:
    """Train a model on the drawn classes in a folder."""

    def run(model: RetrievalModule, folder: Path, share: float = 0.0, data: Any = None, **given: Any) -> Trained:
        module = RetrievalDataModule(
            data or dataset, model.recipe, model.protocol, workers=0, cache="memory", validation_share=share
        )
        return fit(model, module, folder, RUNTIME, **given)

    return run
