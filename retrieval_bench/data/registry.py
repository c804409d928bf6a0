"""Datasets by name. A dataset is a function ``(root, **options) -> RetrievalDataset``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.places import default_root
from retrieval_bench.settings.registry import Registry
from retrieval_bench.values.dataset import RetrievalDataset

DATASETS = Registry("dataset", "retrieval_bench.data")


def register_dataset(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a dataset under `name`; its first parameter is ``root``, the rest are its options."""
    return DATASETS.register(name)


def list_datasets() -> list[str]:
    """The names that `load_dataset` knows."""
    return DATASETS.names()


def load_dataset(name: str, root: str | Path | None = None, **options: Any) -> RetrievalDataset:
    """Load a dataset.

    Args:
        name: as in `list_datasets`.
        root: its folder; None means ``<data folder>/<name>`` (see `default_root`).
        options: of that dataset.

    Raises:
        InputError: unknown name or option, missing files, or ground truth that does not fit the images.
    """
    folder = default_root() / name if root is None else Path(root).expanduser()
    dataset = DATASETS.create(name, options, root=folder)
    if not isinstance(dataset, RetrievalDataset):
        raise InputError(f"dataset {name!r} returned {type(dataset).__name__}, not a RetrievalDataset")
    return dataset
