"""Weight files in the format in which authors publish them, made from a parity case."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def tensors(state: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """A case's state dict as torch tensors."""
    return {key: torch.from_numpy(np.array(value)) for key, value in state.items()}


def write(path: Path, state: dict[str, np.ndarray], wrapper: str, **beside: Any) -> Path:
    """Save `state` under the key `wrapper`, with other entries beside it, as the authors' scripts do."""
    torch.save({**beside, wrapper: tensors(state)}, path)
    return path


def raw_images(normalised: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """RGB images in [0, 1] from ``(B, 3, H, W)`` network input in RGB order."""
    shape = (1, 3, 1, 1)
    return torch.from_numpy(normalised) * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)
