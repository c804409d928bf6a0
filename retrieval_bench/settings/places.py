"""Where files are found and go when the user does not say."""

import os
import sys
from pathlib import Path


def default_root() -> Path:
    """The data folder: ``$RETRIEVAL_BENCH_DATA``, or ``datasets`` in the current folder."""
    return Path(os.environ.get("RETRIEVAL_BENCH_DATA", "datasets")).expanduser()


def config_folder() -> Path:
    """The folder of the YAML presets: beside the package in a checkout, under ``share`` where it is installed."""
    checkout = Path(__file__).parents[2] / "configs"
    return checkout if checkout.is_dir() else Path(sys.prefix) / "share" / "retrieval_bench" / "configs"
