"""Where files go when the user does not say."""

import os
from pathlib import Path


def default_root() -> Path:
    """The data folder: ``$RETRIEVAL_BENCH_DATA``, or ``datasets`` in the current folder."""
    return Path(os.environ.get("RETRIEVAL_BENCH_DATA", "datasets")).expanduser()
