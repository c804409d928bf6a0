"""One run from settings to record: the only place that knows the whole order."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.text import Text

from retrieval_bench.data.registry import load_dataset
from retrieval_bench.evaluation import Result, evaluate
from retrieval_bench.extraction.store import DescriptorStore
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.recording.card import ground_truth_digest
from retrieval_bench.recording.content import SAID_BY_OPTIONS, content_of, require_unchanged
from retrieval_bench.recording.run_folder import finished_in, open_run, runs_folder, settings_digest
from retrieval_bench.reporting.page import write_report
from retrieval_bench.running.check import Checks, check_names, check_search
from retrieval_bench.running.describe import describe, rank, readable, readable_rows
from retrieval_bench.running.finish import make_record, write_run
from retrieval_bench.running.frozen import prepare_features
from retrieval_bench.running.model import (
    build_model,
    check_sampling,
    refuse_wrong_options,
    resolved,
    train,
    trains,
)
from retrieval_bench.running.rankings import read_rankings
from retrieval_bench.running.rerank import build_reranker, rerank, verifier
from retrieval_bench.running.second_stage import Described, inputs
from retrieval_bench.running.state import RunState
from retrieval_bench.running.whiten import check_whitening, whitened
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import layered, load_settings
from retrieval_bench.settings.plugins import load_plugins
from retrieval_bench.settings.record import RunRecord, read_record
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.values.dataset import RetrievalDataset
from retrieval_bench.values.ranking import LevelRankings


def bench(config: RunSettings | Mapping[str, Any] | str | Path, *, console: Console | None = None) -> RunRecord:
    """Train, extract, search, re-rank, evaluate and report.

    Args:
        config: settings, plain values of them (nested mappings; the presets of method and dataset lie below), or a
            YAML file.
        console: where the steps are told; None is stderr.

    Returns:
        the record, which also stands in ``<runs>/<dataset>/<method>/<run_id>/record.json``.

    Raises:
        InputError: anything that the user has to mend.
    """
    if isinstance(config, RunSettings):
        settings = config
    elif isinstance(config, Mapping):
        settings = layered(config)
    else:
        settings = load_settings(config=Path(config))
    return run(settings, console or Console(stderr=True))[0]


def run(settings: RunSettings, console: Console) -> tuple[RunRecord, Path]:
    """As `bench`; also returns the run folder."""
    state, dataset, model = _prepare(settings, console)
    try:
        return _run(state, dataset, model)
    except InputError:
        state.discard_if_empty()
        raise


def _run(state: RunState, dataset: RetrievalDataset, model: RetrievalModule) -> tuple[RunRecord, Path]:
    settings = state.settings
    training = trains(settings, dataset)
    check_whitening(settings, dataset)
    reranker = build_reranker(settings, model, dataset)
    local = reranker is not None and reranker.needs == "local features"
    prepare_features(state, model, dataset, local=local, training=training)
    trained = train(state, model, dataset) if training else None
    if trained is None and settings.weights is None:
        state.warnings.append("the network is untrained: its figures are a floor, not a result")
    queries, database = describe(state, model, dataset, local=local)
    dataset, query_rows, database_rows = readable(state, dataset, queries, database)
    asked, known = whitened(state, model, dataset, queries.tensor(query_rows), readable_rows(database, database_rows))
    with state.timed("search", per="query", count=len(asked)):
        stages = {"global": LevelRankings.same(rank(settings, asked, known, database_rows))}
    verify = None
    if reranker is not None:
        # Queries that gave no pixels are in the ground truth no more.
        reranker = build_reranker(settings, model, dataset) or reranker
        described = Described(queries, database, query_rows, database_rows, asked, known)
        compared = inputs(reranker.needs, described, dataset, model)
        stages["reranked"] = rerank(state, reranker, stages["global"].medium, *compared)
        verify = verifier(reranker, *compared)

    results = {name: scored(rankings, dataset) for name, rankings in stages.items()}
    record = make_record(state, model, dataset, trained, results, stages["global"].medium.k)
    write_run(state.folder, record, dataset, stages, results, verify)
    write_report(state.folder)
    return record, state.folder


def check_runs(wanted: Mapping[str, RunSettings]) -> dict[str, Path]:
    """Refuse what any of several runs would refuse, before the first of them begins.

    Runs that are finished are not looked at any further. A dataset that several runs share is loaded once.

    Args:
        wanted: settings by what the run is called in messages.

    Returns:
        the folders of those that are finished.

    Raises:
        InputError: a run has to be mended, or two of them are the same; it says which.
    """
    checks = Checks()
    names: dict[str, str] = {}
    finished: dict[str, Path] = {}
    for name, settings in wanted.items():
        with naming(name):
            checks.before_data(settings)
    for name, settings in wanted.items():
        with naming(name):
            stated = settings.dataset.name in SAID_BY_OPTIONS
            content = content_of(settings, None if stated else checks.dataset(settings))
            digest = settings_digest(settings, content)
            if (twin := names.setdefault(digest, name)) != name:
                raise InputError(f"it has the same settings as {twin}; take one out")
            if (folder := finished_in(runs_folder(settings), digest)) is not None:
                finished[name] = folder
    for name, settings in wanted.items():
        if name not in finished:
            with naming(name):
                checks.with_data(settings)
    return finished


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Say of an `InputError` which of several runs it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def scored(rankings: LevelRankings, dataset: RetrievalDataset) -> Result:
    """Evaluate a stage, level by level where levels have rankings of their own."""
    size = len(dataset.database)
    if not rankings.differ:
        return evaluate(rankings.medium, dataset.ground_truth, database_size=size)
    by_level = rankings.of_levels().items()
    return Result.of_levels({n: evaluate(r, dataset.ground_truth, database_size=size) for n, r in by_level})


def _prepare(
    settings: RunSettings, console: Console, *, training: bool | None = None
) -> tuple[RunState, RetrievalDataset, RetrievalModule]:
    """Check the settings, load the data, build the model and open the run's folder."""
    warnings = load_plugins(settings.plugins)
    check_names(settings)
    refuse_wrong_options(settings, settings.train.enabled is not False if training is None else training)
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    dataset = load_dataset(str(settings.dataset.name), settings.dataset.root, **settings.dataset.options)
    content = content_of(settings, dataset)
    model = checked_model(settings, dataset, trains(settings, dataset) if training is None else training)
    # Else the figures of one file would be kept under the name of another.
    require_unchanged(settings, content)
    folder = open_run(settings, resolved(settings, model), content)
    state = RunState(settings, folder, console, content, warnings=warnings)
    told = Text.assemble((model.card.title, "bold"), f" on {dataset.name} -> {state.folder}")
    console.print(told, soft_wrap=True)
    return state, dataset, model


def checked_model(settings: RunSettings, dataset: RetrievalDataset, training: bool) -> RetrievalModule:
    """The model of a run whose search, re-ranker and batches of every stage fit the dataset and each other.

    Raises:
        InputError: something does not fit.
    """
    check_search(settings, len(dataset.database))
    model = build_model(settings, dataset, training)
    build_reranker(settings, model, dataset)
    if training:
        check_sampling(settings, model, dataset)
    return model


def train_only(settings: RunSettings, console: Console) -> Path:
    """Load the data and train; returns the checkpoint."""
    state, dataset, model = _prepare(settings, console)
    return train(state, model, dataset).checkpoint


def extract_only(settings: RunSettings, console: Console) -> dict[str, DescriptorStore]:
    """Describe queries and database of a dataset with given weights; returns the stores by name."""
    state, dataset, model = _prepare(settings, console, training=False)
    reranker = build_reranker(settings, model, dataset)
    local = reranker is not None and reranker.needs == "local features"
    queries, database = describe(state, model, dataset, local=local)
    state.discard_if_empty()
    return {"queries": queries, "database": database}


def score_again(folder: Path) -> dict[str, Result]:
    """Evaluate the rankings that a run folder holds; returns results by stage.

    Raises:
        InputError: no finished run there, or a dataset that is another now.
    """
    record = read_record(folder)
    settings = load_settings(config=folder / "config.yaml")
    load_plugins(settings.plugins)
    dataset = load_dataset(str(settings.dataset.name), settings.dataset.root, **settings.dataset.options)
    # Rankings are row numbers of image lists: of other lists they would give figures all the same.
    if ground_truth_digest(dataset) != record.card.ground_truth_digest:
        raise InputError(
            f"dataset {settings.dataset.name} is not what {folder} was evaluated on: images, boxes or labels are "
            "others now, or images were skipped then; bench the same settings again, which uses stored descriptors"
        )
    return {name: scored(rankings, dataset) for name, rankings in read_rankings(folder).items()}
