"""``doctor``: what this machine has, and what is wrong with it."""

import argparse
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from rich.table import Table

from retrieval_bench.recording.provenance import PACKAGES
from retrieval_bench.reporting.terminal import output, print_table
from retrieval_bench.search.faiss_install import import_faiss
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.places import config_folder, default_root


def doctor(arguments: argparse.Namespace) -> None:
    """Print versions, devices, disk and faiss; problems end in an error.

    Raises:
        InputError: torch and torchvision do not fit, or faiss is broken.
    """
    import torch

    table = Table("what", "found")
    table.add_row("python", platform.python_version())
    for package in PACKAGES:
        table.add_row(package, _version(package))
    problems = []
    try:
        import torchvision.ops  # noqa: F401
    except (ImportError, RuntimeError) as error:
        problems.append(f"torchvision does not fit torch ({error}); install the pair that the constraints file pins")
    try:
        faiss = import_faiss()
        table.add_row("faiss GPUs", str(getattr(faiss, "get_num_gpus", lambda: 0)()))
    except InputError as error:
        problems.append(str(error))
    table.add_row("cores", str(os.cpu_count()))
    table.add_row("GPU", torch.cuda.get_device_name() if torch.cuda.is_available() else "none")
    table.add_row("free disk", f"{shutil.disk_usage('.').free / 2**30:.0f} GiB")
    table.add_row("data folder", str(default_root().resolve()))
    table.add_row("presets", str(config_folder()))
    print_table(output(), table)
    if problems:
        raise InputError("; ".join(problems))
    output().print("no problems found")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
