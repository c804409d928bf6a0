"""Four landmarks in a folder with a table of labels: the least on which a method can be trained and evaluated."""

from pathlib import Path

import numpy as np
from PIL import Image

TINY = ("dataset=folder", "dataset.csv=table.csv", "backbone=resnet10t", "model.dim=16", "runtime.workers=0",
        "extract.image_size=40", "evaluate.resamples=10")  # fmt: skip
TRAINED = ("train.epochs=1", "train.batch_size=4", "train.image_size=32", "train.validation_share=0")


def make_landmarks(folder: Path) -> Path:
    """Two landmarks to train on and two to look for, four images each."""
    folder.mkdir()
    rows = ["image,label,split"]
    for number in range(16):
        label, split = f"place{number // 4}", "train" if number < 8 else "test"
        pixels = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{label},{split}")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder
