"""Whitening of finished descriptors, learnt on training images only."""

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.extraction.store import DescriptorStore
from retrieval_bench.extraction.whitening import Whitening, learn_pca_whitening, learn_whitening
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.recording.content import require_unchanged
from retrieval_bench.running.describe import extract_list
from retrieval_bench.running.state import RunState
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.values.dataset import ImageList, RetrievalDataset


def whitened(
    state: RunState,
    model: RetrievalModule,
    dataset: RetrievalDataset,
    queries: Tensor,
    database: Tensor | DescriptorStore,
) -> tuple[Tensor, Tensor | DescriptorStore]:
    """Queries and database after the whitening that the settings ask for; saved in the run's folder.

    Raises:
        InputError: there are no training images to learn it on, no file, or it does not fit the descriptors.
    """
    wanted = state.settings.whitening
    if wanted.kind == "none":
        return queries, database
    given = check_whitening(state.settings, dataset)
    if given is not None:
        whitening = given
        require_unchanged(state.settings, state.content, "whitening.path")
    else:
        whitening = _learn(state, model, dataset)
        whitening.save(state.folder / "whitening.safetensors")
    stored = database if isinstance(database, Tensor) else database.tensor()
    asked, known = whitening.apply(queries, wanted.dim), whitening.apply(stored, wanted.dim)
    unit = "pairs" if wanted.kind == "learned" else "images"
    state.whitening = f"{wanted.kind} to {asked.shape[1]}-d, learnt on {whitening.learnt_on} ({whitening.count} {unit})"
    return asked, known


def check_whitening(settings: RunSettings, dataset: RetrievalDataset) -> Whitening | None:
    """Refuse a whitening that cannot be had; returns that of a file.

    Raises:
        InputError: there are no training images to learn it on, or no file.
    """
    wanted = settings.whitening
    if wanted.kind == "file":
        if wanted.path is None:
            raise InputError("whitening.kind=file needs whitening.path=FILE")
        return Whitening.load(wanted.path)
    if wanted.kind != "none" and dataset.train is None:
        raise InputError(
            f"whitening.kind={wanted.kind} is learnt on training images, and dataset {dataset.name!r} has none; set "
            "whitening.kind=none, or file with whitening.path="
        )
    return None


def _learn(state: RunState, model: RetrievalModule, dataset: RetrievalDataset) -> Whitening:
    settings = state.settings
    assert dataset.train is not None
    train = dataset.train
    drawn = np.random.default_rng(settings.seed).permutation(len(train))[: settings.whitening.images]
    rows = [int(row) for row in np.sort(drawn)]
    images = ImageList([f"{row:07d}" for row in rows], [train.paths[row] for row in rows])
    store = extract_list(state, model, images, "describe for whitening")
    state.cost("whitening", store.report.seconds, "s")
    readable = [int(row) for row in store.valid_rows]
    descriptors, name = store.tensor(readable), f"{dataset.name} train"
    if settings.whitening.kind == "pca":
        return learn_pca_whitening(descriptors, name)
    first, second = matching_pairs(torch.tensor([train.labels[rows[row]] for row in readable]))
    return learn_whitening(descriptors, first, second, name)


def matching_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of rows with one label, each once: ``(P,)`` and ``(P,)``."""
    pairs = torch.triu(labels[:, None] == labels[None, :], diagonal=1).nonzero()
    return pairs[:, 0], pairs[:, 1]
