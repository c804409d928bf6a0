"""What each of several workers on one machine gets: its part of the cores, and a device of its own."""

import os
from collections.abc import Mapping, Sequence

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PASSED_ON = ("PYTHONPATH", "RETRIEVAL_BENCH_DATA", "OMP_WAIT_POLICY")
"""Variables that a run needs on another machine, too."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(workers: int, available: int) -> int:
    """CPU threads of each of `workers` on `available` cores; no more than the user allows every process."""
    share = max(1, available // workers)
    allowed = os.environ.get(THREADS[0], "")
    return min(share, int(allowed)) if allowed.isdigit() and int(allowed) > 0 else share


def thread_variables(count: int) -> dict[str, str]:
    """What makes a process compute with `count` threads."""
    return dict.fromkeys(THREADS, str(count))


def devices() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def device_variable(slot: int, found: Sequence[str]) -> dict[str, str]:
    """One device for the worker in a slot; with more workers than devices, several share one."""
    return {"CUDA_VISIBLE_DEVICES": found[slot % len(found)]} if found else {}


def passed_on() -> Mapping[str, str]:
    """Of this process, what runs elsewhere need."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}
