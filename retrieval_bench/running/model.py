"""The model of a run, trained if the run trains."""

from collections.abc import Sequence
from typing import Any

import torch

from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.frozen.data import FeatureDataModule
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.parts import batches_of_loss
from retrieval_bench.methods.registry import create_model
from retrieval_bench.running.frozen import feature_source, stores_features, with_views
from retrieval_bench.running.state import RunState
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import PartSettings, RunSettings
from retrieval_bench.settings.stages import training_stages
from retrieval_bench.training.fit import Trained, fit
from retrieval_bench.values.dataset import RetrievalDataset

SOME_CLASSES = 1000
"""Training classes where the true number is not known yet."""


def build_model(settings: RunSettings, dataset: RetrievalDataset, training: bool) -> RetrievalModule:
    """The method of a run, with the protocol and recipe that its settings ask for."""
    classes = len(dataset.train.classes) if training and dataset.train is not None else None
    model = create_model(
        settings.method,
        backbone=settings.backbone.given(),
        pooling=settings.pooling.given(),
        loss=settings.loss.given(),
        num_classes=classes,
        weights=settings.weights,
        **settings.model,
    )
    stages = list(stages_of(settings, model).values())
    model.recipe = stages[0]
    if training:
        refuse_skipping(settings, stages)
    changes = {key: value for key in ("image_size", "scales", "merge") if (value := getattr(settings.extract, key))}
    if "image_size" in changes and model.protocol.resize == "none":
        changes["resize"] = "bilinear-antialias"
    model.protocol = model.protocol.model_copy(update=changes)
    return model


def refuse_skipping(settings: RunSettings, stages: Sequence[Recipe]) -> None:
    """Refuse broken images that are left out where the order of the images is what a stage trains on."""
    hard = next((stage.sampler for stage in stages if stage.sampler in ("hard-tuples", "hard-triplets")), None)
    if hard is not None and settings.extract.on_error == "skip":
        raise InputError(
            f"the {hard} of {settings.method} stand in a fixed order, which extract.on_error=skip would break; mend "
            "the broken images and set extract.on_error=error"
        )


def refuse_wrong_options(settings: RunSettings, training: bool) -> None:
    """Refuse what the method, its parts or its recipe refuse before there is any data, which may take long to get.

    The model is built without values, and anew with the data. Weights may decide the parts, so a run with weights is
    left to that.

    Args:
        settings: of the run.
        training: whether it trains.

    Raises:
        InputError: as `create_model` and `stages_of`.
    """
    classes = SOME_CLASSES if training else None
    if settings.weights is None and (model := options_model(settings, classes)) is not None:
        stages_of(settings, model)


def options_model(settings: RunSettings, classes: int | None) -> RetrievalModule | None:
    """The model of a run without weights, and without values; None where it can only be built with them.

    Args:
        settings: of the run.
        classes: that it trains on; None: it does not train.

    Raises:
        InputError: as `create_model`.
    """
    backbone = {key: value for key, value in (settings.backbone.given() or {}).items() if key != "weights"}
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return create_model(
                settings.method,
                backbone={**backbone, "pretrained": False},
                pooling=settings.pooling.given(),
                loss=settings.loss.given(),
                num_classes=classes,
                **settings.model,
            )
    except InputError:
        raise
    except Exception:  # a part that looks at the values of its tensors; what is truly wrong comes again with the data
        return None


def stages_of(settings: RunSettings, model: RetrievalModule) -> dict[str, Recipe]:
    """The recipes of a run by name; batches are those that the loss is made for, where nobody chose others."""
    stages = training_stages(settings.train, model.recipes, batches_of_loss(model.settings["loss"]))
    return with_views(settings, model, stages)


def check_sampling(settings: RunSettings, model: RetrievalModule, dataset: RetrievalDataset) -> None:
    """Refuse a stage whose sampler cannot make batches of the training images, before the first stage begins."""
    for recipe in stages_of(settings, model).values():
        check_batches(settings, recipe, model.protocol, dataset)


def check_batches(settings: RunSettings, recipe: Recipe, protocol: Protocol, dataset: RetrievalDataset) -> None:
    """Refuse a sampler that cannot make batches of the training images. No file is read."""
    share = settings.train.validation_share
    RetrievalDataModule(dataset, recipe, protocol, seed=settings.seed, validation_share=share).training_order()


def resolved(settings: RunSettings, model: RetrievalModule) -> RunSettings:
    """The settings with nothing left to defaults: the parts and options of the model, every value of the recipe."""
    chosen = dict(model.settings)
    chosen.pop("num_classes", None)
    parts = {kind: PartSettings(**chosen.pop(kind)) for kind in ("backbone", "pooling", "loss")}
    decided = {**model.recipe.model_dump(), "stored_features": stores_features(settings, model)}
    train = settings.train.model_copy(update=decided)
    return settings.model_copy(update={**parts, "model": chosen, "train": train})


def trains(settings: RunSettings, dataset: RetrievalDataset) -> bool:
    """Whether this run trains.

    Raises:
        InputError: it should, but there is nothing to train on.
    """
    wanted = settings.weights is None if settings.train.enabled is None else settings.train.enabled
    if wanted and dataset.train is None:
        table = "a table, dataset.csv=FILE, whose column split says train, or " if dataset.name == "folder" else ""
        raise InputError(
            f"dataset {dataset.name!r} has no training images: give {table}weights=FILE, or train.enabled=false to see "
            "the floor of an untrained network"
        )
    return wanted


def train(state: RunState, model: RetrievalModule, dataset: RetrievalDataset) -> Trained:
    """Train the model in place, stage by stage; a run that was interrupted goes on."""
    settings = state.settings
    assert dataset.train is not None
    model.trained_on = f"{dataset.name} train: {len(dataset.train)} images, {len(dataset.train.classes)} classes"
    stages = stages_of(settings, model)
    source = feature_source(settings, model, state.console) if stores_features(settings, model) else None
    parts: list[Trained] = []
    for name, recipe in stages.items():
        model.recipe = recipe
        options: dict[str, Any] = {
            "seed": settings.seed,
            "workers": settings.runtime.workers,
            "batch_size_extract": settings.extract.batch_size,
            "cache": "memory" if settings.train.cache_images else "none",
            "validation_share": settings.train.validation_share,
            "on_error": settings.extract.on_error,
        }
        data = (
            RetrievalDataModule(dataset, recipe, model.protocol, **options)
            if source is None
            else FeatureDataModule(dataset, recipe, source, **options)
        )
        folder = state.folder if name == list(stages)[-1] else state.folder / "stages" / name
        # Later stages go on from what the first one learnt.
        start_images = 0 if parts else settings.train.start_images
        parts.append(
            fit(
                model,
                data,
                folder,
                settings.runtime,
                validate_every=settings.train.validate_every,
                start_images=start_images,
                console=state.console,
            )
        )
    trained = joined(parts)
    if trained.start_images:
        state.cost("start of the pooling", trained.start_seconds, "s")
    state.cost("training", trained.seconds, "s")
    if trained.seconds > 0:
        state.cost("training speed", trained.images / trained.seconds, "images/s")
    return trained


def joined(stages: Sequence[Trained]) -> Trained:
    """Several stages as one training: epochs count on."""
    history: list[dict[str, float]] = []
    for stage in stages:
        before = len(history)
        history += [{**row, "epoch": before + row["epoch"]} for row in stage.history]
    return Trained(
        history,
        sum(stage.seconds for stage in stages),
        sum(stage.images for stage in stages),
        stages[-1].checkpoint,
        stages[0].start_images,
        stages[0].start_seconds,
    )
