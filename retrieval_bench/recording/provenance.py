"""Where a run was made: versions, commit, machine."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from retrieval_bench.recording.content import Content

PACKAGES = (
    "retrieval-bench",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "timm",
    "faiss-gpu",
    "faiss-cpu",
    "opencv-python-headless",
    "pillow",
    "numpy",
)


def provenance(seed: int, device: str, content: Content | None = None) -> dict[str, str]:
    """What has to be the same for a rerun to give the same record.

    Args:
        seed: of the run.
        device: where it computed, ``"cpu"`` or ``"cuda"``.
        content: of its files and dataset when it began; None: it names none.
    """
    content = content or Content()
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "seed": str(seed),
        **{f"{setting} sha256": digest for setting, digest in sorted(content.files.items())},
        **({"dataset sha256": content.dataset} if content.dataset is not None else {}),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    """The commit of the checkout, with ``+changes`` where files differ from it."""
    folder = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], cwd=folder, capture_output=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "not a checkout"
    return f"{commit}+changes" if changes.strip() else commit
