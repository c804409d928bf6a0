"""Networks that are only looked at, built without memory for their values."""

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def without_storage(build: Callable[[], T]) -> T:
    """What `build` makes, on the meta device; with values where a constructor looks at those of its tensors.

    Random numbers that are drawn meanwhile do not move torch's own generators.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build()
        except (RuntimeError, NotImplementedError):
            return build()
