"""What the tests of this room share: pictures on disk, and the folder of shared real data where there is one."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def shared() -> Callable[..., Path]:
    """A path inside the shared data folder; skips where that folder is absent."""

    def find(*parts: str) -> Path:
        root = Path(os.environ.get("RETRIEVAL_BENCH_SHARED", Path(__file__).parents[3] / "shared"))
        path = root.joinpath(*parts)
        if not path.exists():
            pytest.skip(f"no {'/'.join(parts)} in {root}: set RETRIEVAL_BENCH_SHARED to the folder that holds it")
        return path

    return find


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """Write a seeded noise image of a size and return its path."""

    def save(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return save
