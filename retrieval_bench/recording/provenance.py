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


def provenance(seed: int, device: str, content: Content | None = None, code: str | None = None) -> dict[str, str]:
    """What has to be the same for a rerun to give the same record.

    Args:
        seed: of the run.
        device: where it computed, ``"cpu"`` or ``"cuda"``.
        content: of its files and dataset when it began; None: it names none.
        code: `commit` when it began; None: as of now.
    """
    content = content or Content()
    return {
        "command": _command(),
        "commit": commit() if code is None else code,
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


def commit() -> str:
    """The commit of the checkout that this code runs from, with ``+changes`` where files of it differ or are new.

    An installed copy has none, though it may lie inside another project's checkout.
    """
    package = Path(__file__).parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=package, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", str(Path(__file__).relative_to(package)))
        found = git("rev-parse", "--short=12", "HEAD")
        changes = git("status", "--porcelain", "--untracked-files=no") or git("status", "--porcelain", ".")
    except (OSError, subprocess.CalledProcessError):
        return "not a checkout"
    return f"{found}+changes" if changes else found


def _command() -> str:
    program = Path(sys.argv[0]).name
    # So Python calls a package that it runs.
    program = "python -m retrieval_bench" if program == "__main__.py" else shlex.quote(program)
    return " ".join([program, shlex.join(sys.argv[1:])]).strip()
