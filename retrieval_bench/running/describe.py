"""Descriptors of queries and database, and the search over them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from retrieval_bench.extraction.extract import extract_to_store
from retrieval_bench.extraction.store import DescriptorStore
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.running.frozen import features_of
from retrieval_bench.running.state import RunState
from retrieval_bench.search import search
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.training.fit import precision
from retrieval_bench.values.dataset import ImageList, RetrievalDataset
from retrieval_bench.values.ranking import Ranking


def extract_list(
    state: RunState, model: RetrievalModule, images: ImageList, title: str, *, local: bool = False
) -> DescriptorStore:
    """The descriptors of an image list under the settings of a run; stored ones are used again."""
    settings = state.settings
    chosen = precision(settings.runtime)
    return extract_to_store(
        model,
        images,
        settings.runs / "descriptors",
        batch_size=settings.extract.batch_size,
        workers=settings.runtime.workers or 0,
        local=local,
        on_error=settings.extract.on_error,
        dtype=settings.extract.dtype,
        accelerator=settings.runtime.accelerator,
        precision=None if chosen == "32-true" else chosen,
        title=title,
        progress=not state.console.quiet,
        stored=features_of(state, model, images, f"features to {title}", local=local),
    )


def describe(
    state: RunState, model: RetrievalModule, dataset: RetrievalDataset, *, local: bool
) -> tuple[DescriptorStore, DescriptorStore]:
    """Descriptors of queries and database, with local features if asked; stored ones are used again."""

    def extract(images: ImageList, title: str) -> DescriptorStore:
        return extract_list(state, model, images, title, local=local)

    queries, database = extract(dataset.queries, "describe queries"), extract(dataset.database, "describe database")
    reports = (queries.report, database.report)
    seconds = sum(report.seconds for report in reports)
    described = sum(report.n_images - report.skipped for report in reports)
    reused = "" if any(report.forward_images for report in reports) else " (stored by an earlier run)"
    state.cost(f"extraction{reused}", seconds, "s")
    state.cost("extraction per image", 1000 * seconds / described, "ms")
    state.cost("descriptor", database.report.global_bytes_per_image, "bytes/image")
    if local:
        state.cost("local features", database.report.local_bytes_per_image / 1024, "KiB/image")
    return queries, database


def readable(
    state: RunState, dataset: RetrievalDataset, queries: DescriptorStore, database: DescriptorStore
) -> tuple[RetrievalDataset, list[int], list[int]]:
    """Leave out queries that gave no pixels; returns the rows of both stores that did."""
    for store, what in ((queries, "query"), (database, "database")):
        state.warnings += [f"{what} image {image.name} was skipped: {image.reason}" for image in store.skipped]
    query_rows, database_rows = ([int(row) for row in store.valid_rows] for store in (queries, database))
    if len(query_rows) < len(dataset.queries):
        asked = dataset.queries
        dataset = replace(
            dataset,
            queries=ImageList(
                [asked.names[row] for row in query_rows],
                [asked.paths[row] for row in query_rows],
                [asked.boxes[row] for row in query_rows],
            ),
            ground_truth=[dataset.ground_truth[row] for row in query_rows],
            query_groups=[dataset.query_groups[row] for row in query_rows] if dataset.query_groups else (),
        )
    return dataset, query_rows, database_rows


def rank(settings: RunSettings, queries: Tensor, database: Tensor | DescriptorStore, rows: Sequence[int]) -> Ranking:
    """Rank the database for every query.

    Args:
        settings: k and backend.
        queries: ``(Q, D)``.
        database: descriptors of `rows`.
        rows: of the database's image list; images that gave no pixels are not among them.
    """
    ranking = search(queries, database, settings.search.k, backend=settings.search.backend)
    return Ranking(torch.tensor(rows)[ranking.indices], ranking.scores)


def readable_rows(store: DescriptorStore, rows: Sequence[int]) -> Tensor | DescriptorStore:
    """The store itself where it has all its rows, so that it can be streamed, else the given ones."""
    return store if len(rows) == len(store) else store.tensor(rows)
