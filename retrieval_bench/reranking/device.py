"""The device that a re-ranker is asked to compute on."""

import torch

from retrieval_bench.settings.errors import InputError


def device_named(name: str | torch.device | None) -> torch.device | None:
    """The device called so; None where none was named.

    Raises:
        InputError: there is no such device here.
    """
    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"rerank.device={name} is no device that torch has here; use cpu, or leave it out") from error
    return device
