"""``doctor``: what this machine has, and what is wrong with it."""

import argparse
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.table import Table

from retrieval_bench.recording.provenance import PACKAGES
from retrieval_bench.reporting.terminal import output, print_table
from retrieval_bench.search.faiss_install import import_faiss
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.places import config_folder, default_root

OTHER_FAISS = {"faiss-cpu": "faiss-gpu", "faiss-gpu": "faiss-cpu"}


def doctor(arguments: argparse.Namespace) -> None:
    """Print versions, devices, disk and faiss; problems end in an error.

    Raises:
        InputError: torch and torchvision do not fit, or faiss is broken.
    """
    import torch

    table = Table("what", "found")
    table.add_row("python", platform.python_version())
    for package in PACKAGES:
        table.add_row(package, shown_version(package))
    problems = []
    try:
        import torchvision.ops  # noqa: F401
    except (ImportError, RuntimeError) as error:
        problems.append(f"torchvision does not fit torch ({error}); install the pair that the constraints file pins")
    try:
        faiss = import_faiss()
        table.add_row("faiss searches on", faiss_place(faiss, gpu=torch.cuda.is_available()))
    except InputError as error:
        problems.append(str(error))
    table.add_row("cores", str(os.cpu_count()))
    table.add_row("GPU", torch.cuda.get_device_name() if torch.cuda.is_available() else "none; all runs on the CPU")
    table.add_row("free disk", f"{shutil.disk_usage('.').free / 2**30:.0f} GiB")
    table.add_row("data folder", str(default_root().resolve()))
    table.add_row("presets", str(config_folder()))
    print_table(output(), table)
    if problems:
        raise InputError("; ".join(problems))
    output().print("no problems found")


def shown_version(package: str) -> str:
    """The version of a package, or what its absence means: of faiss one distribution is enough, and two are a fault."""
    other = OTHER_FAISS.get(package)
    spared = other is not None and _version(other) is not None
    return _version(package) or (f"not needed beside {other}" if spared else "not installed")


def faiss_place(faiss: Any, *, gpu: bool) -> str:
    """Where this faiss searches, and why not on a GPU.

    Args:
        faiss: the module.
        gpu: whether torch sees one.
    """
    count = getattr(faiss, "get_num_gpus", lambda: 0)()
    if not hasattr(faiss, "StandardGpuResources"):
        return "the CPU; this build cannot use GPUs"
    if count == 0:
        return "the CPU, though torch sees a GPU" if gpu else "the CPU; on a machine with a GPU, there"
    return "the GPU" if count == 1 else f"a GPU; it sees {count}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
