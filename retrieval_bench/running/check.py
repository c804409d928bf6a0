"""What a run would refuse, found before it begins; what several runs have in common is looked at once."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from retrieval_bench.data.registry import DATASETS, load_dataset
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.parts import build_backbone, needs_of
from retrieval_bench.methods.registry import METHODS
from retrieval_bench.reranking.base import RERANKERS
from retrieval_bench.running.model import (
    SOME_CLASSES,
    build_model,
    check_batches,
    options_model,
    refuse_skipping,
    stages_of,
    trains,
)
from retrieval_bench.running.rerank import build_reranker
from retrieval_bench.running.whiten import check_whitening
from retrieval_bench.search import BACKENDS
from retrieval_bench.settings.errors import InputError, nearest, one_line
from retrieval_bench.settings.plugins import load_plugins
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.values.dataset import RetrievalDataset

Found = TypeVar("Found")

_OF_BATCHES = {"sampler", "batch_size", "instances", "tuple_size", "hard_share", "epochs"}
"""What `training_sampler` reads of a recipe."""


def check_names(settings: RunSettings) -> None:
    """Refuse wrong names and missing files before anything long begins."""
    METHODS.get(settings.method)
    DATASETS.get(str(settings.dataset.name))
    if settings.rerank.name is not None:
        RERANKERS.check(settings.rerank.name, settings.rerank.options)
    if settings.weights is not None and not settings.weights.is_file():
        raise InputError(f"no weight file at {settings.weights}; check weights=")


def check_search(settings: RunSettings, database: int) -> None:
    """Refuse a search that cannot work."""
    if settings.search.backend not in BACKENDS:
        raise InputError(nearest(settings.search.backend, BACKENDS, noun="search backend"))
    if settings.search.k is not None and settings.search.k > database:
        raise InputError(f"search.k={settings.search.k} is larger than the database of {database} images; lower it")


class Checks:
    """Checks of many runs. A model, a dataset or a sampler that several of them share is made once.

    Models are built without values where that says as much, and what has to be read is read once: weights of a backbone
    for all heads upon it. Runs with like models should follow each other (`like_models`), for only one model is kept.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Any] = {}
        self._refused: dict[tuple[Any, ...], str] = {}
        self._last: tuple[str, RetrievalModule | None] | None = None

    def before_data(self, settings: RunSettings) -> None:
        """Refuse names, options and recipes that are wrong whatever the data.

        Raises:
            InputError: what `bench` would raise.
        """
        self._once(("plugins", str(settings.plugins)), lambda: load_plugins(settings.plugins))
        check_names(settings)
        if settings.weights is None:
            self._stages(settings, None)

    def with_data(self, settings: RunSettings) -> None:
        """Refuse what does not fit the dataset, or what is read beside it: search, whitening, weights, batches.

        Raises:
            InputError: what `bench` would raise.
        """
        dataset, place = self.dataset(settings), dataset_key(settings)
        training = trains(settings, dataset)
        check_search(settings, len(dataset.database))
        whitening = settings.whitening.model_dump_json()
        self._once(("whitening", place, whitening), lambda: check_whitening(settings, dataset))
        stages = self._stages(settings, dataset)
        if settings.weights is None:
            self._check_values(settings, len(dataset.train.classes) if training and dataset.train is not None else None)
        if settings.rerank.name is not None:
            self._once(
                ("re-ranker", place, settings.method, settings.rerank.model_dump_json()),
                lambda: build_reranker(settings, self._model(settings, dataset), dataset),
            )
        if training:
            refuse_skipping(settings, stages)
            for stage in stages:
                read = stage.model_dump_json(include=_OF_BATCHES)
                key = ("batches", place, settings.train.validation_share, read)
                self._once(key, partial(check_batches, settings, stage, Protocol(), dataset))

    def reason(self, settings: RunSettings, *, data: bool) -> str | None:
        """Why a run cannot be made, in one line; None where nothing speaks against it.

        Args:
            settings: of the run.
            data: whether to look at the dataset and at what is read beside it, too.
        """
        try:
            self.before_data(settings)
            if data:
                self.with_data(settings)
        except Exception as error:  # a part of the user's may raise anything
            return one_line(error)
        return None

    def dataset(self, settings: RunSettings) -> RetrievalDataset:
        """The dataset of a run."""
        part = settings.dataset
        return self._once(
            ("dataset", dataset_key(settings)), lambda: load_dataset(str(part.name), part.root, **part.options)
        )

    def _stages(self, settings: RunSettings, dataset: RetrievalDataset | None) -> list[Recipe]:
        """The recipes of a run; none where its model is not known before there is data."""
        key = ("stages", like_models(settings), settings.train.model_dump_json())
        if key in self._known:
            return cast(list[Recipe], self._known[key])
        model = self._model(settings, dataset)
        return [] if model is None else self._once(key, lambda: list(stages_of(settings, model).values()))

    def _model(self, settings: RunSettings, dataset: RetrievalDataset | None) -> Any:
        """The model of a run, without values if it can be built so; None where it cannot, and there is no data yet."""
        key = like_models(settings)
        if self._last is None or self._last[0] != key:
            kept = settings.weights is None
            model = self._tried(("model", key), lambda: options_model(settings, SOME_CLASSES)) if kept else None
            self._last = (key, model)
        if self._last[1] is None and dataset is not None:
            training = trains(settings, dataset)
            self._last = (key, self._tried(("model", key), lambda: build_model(settings, dataset, training)))
        return self._last[1]

    def _check_values(self, settings: RunSettings, classes: int | None) -> None:
        """Refuse what a model without values and with any number of classes does not show."""
        loss = settings.model_dump_json(include={"method", "loss", "model"})
        self._once(("loss", loss, classes), lambda: options_model(settings, classes) is None)
        given = settings.backbone.options
        if given.get("weights") is None and not given.get("pretrained"):
            return
        model = self._model(settings, None)
        if model is not None:
            backbone = {**model.settings["backbone"], **given}
            stages, pooling = len(model.backbone.channels), model.settings["pooling"]
            key = ("backbone", json.dumps(backbone, default=str, sort_keys=True), stages, needs_of(pooling))
            self._once(key, lambda: build_backbone(backbone, stages, pooling) is None)

    def _once(self, key: tuple[Any, ...], find: Callable[[], Found]) -> Found:
        """What `find` gives for a key."""
        if key not in self._known:
            self._known[key] = self._tried(key, find)
        return cast(Found, self._known[key])

    def _tried(self, key: tuple[Any, ...], find: Callable[[], Found]) -> Found:
        """What `find` gives; what it refused once is refused again without a look."""
        if key in self._refused:
            raise InputError(self._refused[key])
        try:
            return find()
        except InputError as error:
            self._refused[key] = str(error)
            raise


def like_models(settings: RunSettings) -> str:
    """What decides the model of a run but for the number of classes; runs sorted by it follow those that are like."""
    parts = settings.model_dump_json(include={"method", "backbone", "pooling", "loss", "model", "weights"})
    return f"{parts} {settings.plugins}"


def dataset_key(settings: RunSettings) -> str:
    """The same for runs on one dataset."""
    return f"{settings.dataset.model_dump_json()} {settings.plugins}"
