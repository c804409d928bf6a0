"""What all parts of a process share, and no part may change."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from retrieval_bench.contracts.expectations import require

SEED = 8_675_309
"""One that no part sets, as many set 0: that would go unnoticed where it is set already."""


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Raise `Broken` where what runs inside draws from, or sets, what belongs to the whole process."""
    drawn = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch.manual_seed(SEED)
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002
    before = _state()
    try:
        yield
        changed = [name for name, value in _state().items() if value != before[name]]
    finally:
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])  # noqa: NPY002
    require(
        not changed,
        f"it changes {' and '.join(changed)}, on which all else in the process depends; draw from a torch.Generator of "
        "its own, and leave settings as they are",
    )


def _state() -> dict[str, object]:
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  the shared one is what is watched
    return {
        "torch's random numbers": torch.get_rng_state().numpy().tobytes(),
        "numpy's random numbers": (kind, np.asarray(keys).tobytes(), *rest),
        "Python's random numbers": random.getstate(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's default dtype": torch.get_default_dtype(),
        "whether gradients are recorded": torch.is_grad_enabled(),
    }
