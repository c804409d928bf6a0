"""Stored features in a run: whether it uses them, where they come from, and what is said of them."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.extraction.extract import StoredFeatures
from retrieval_bench.frozen.data import training_stores
from retrieval_bench.frozen.feeding import StoredFeed
from retrieval_bench.frozen.source import FeatureSource
from retrieval_bench.frozen.store import FeatureStore
from retrieval_bench.frozen.support import able_methods, overridden
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.running.state import RunState
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.settings.stages import training_stages
from retrieval_bench.training.fit import Trained, precision
from retrieval_bench.values.dataset import ImageList, RetrievalDataset
from retrieval_bench.weights.own_entry import own_entry
from retrieval_bench.weights.reading import read_weights

UNTRAINED = "random initialisation"

CENTRE = {"views": "centre", "flip": 0.0, "jitter": 0.0, "lighting": 0.0}
"""What a recipe says where every training image has one view."""


def with_views(settings: RunSettings, model: RetrievalModule, stages: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """The recipes of a run, saying of the views of training images what is true on stored features."""
    stored = stores_features(settings, model)
    return {
        name: recipe.model_copy(update=CENTRE) if stored or recipe.views == "centre" else recipe
        for name, recipe in stages.items()
    }


def stores_features(settings: RunSettings, model: RetrievalModule) -> bool:
    """Whether a run trains and evaluates on stored features.

    Raises:
        InputError: it is told to, and cannot.
    """
    wanted = settings.train.stored_features
    obstacle = _obstacle(settings, model) if wanted is not False else None
    if wanted and obstacle is not None:
        raise InputError(f"train.stored_features=true: {obstacle}")
    return wanted is not False and obstacle is None


def unused_store(settings: RunSettings, model: RetrievalModule) -> str | None:
    """Why a run with a frozen backbone computes its features anew, where the user left that open."""
    if settings.train.freeze != "backbone" or settings.train.stored_features is not None:
        return None
    return _obstacle(settings, model)


def _obstacle(settings: RunSettings, model: RetrievalModule) -> str | None:
    if any(stage.freeze != "backbone" for stage in training_stages(settings.train, model.recipes).values()):
        return "the backbone learns, and its features change; set train.freeze=backbone"
    if settings.train.views == "random":
        return "an image has one stored view, and train.views=random was asked for; leave one of the two out"
    if found := overridden(type(model)):
        return (
            f"method {settings.method!r} needs the images themselves ({', '.join(found)}); set "
            f"train.stored_features=false, or choose one of {', '.join(able_methods())}"
        )
    return None


def feature_source(settings: RunSettings, model: RetrievalModule, console: Console | None = None) -> FeatureSource:
    """Where the features of a run come from."""
    chosen = precision(settings.runtime)
    return FeatureSource(
        model,
        settings.runs / "features",
        dtype=settings.train.feature_dtype,
        batch_size=settings.extract.batch_size,
        workers=settings.runtime.workers or 0,
        on_error=settings.extract.on_error,
        accelerator=settings.runtime.accelerator,
        precision=None if chosen == "32-true" else chosen,
        console=console or Console(stderr=True),
    )


def features_of(
    state: RunState, model: RetrievalModule, images: ImageList, title: str, *, local: bool
) -> StoredFeatures | None:
    """The stored features of whole images, at the scales that their description reads; None where the run uses none."""
    if not stores_features(state.settings, model):
        return None
    source = feature_source(state.settings, model, state.console)
    (store,) = source.open(source.images(images, model.described_scales(local=local), title))
    return StoredFeatures(store.key, lambda rows: StoredFeed(store, rows))


def prepare_features(
    state: RunState, model: RetrievalModule, dataset: RetrievalDataset, *, local: bool, training: bool
) -> None:
    """Store all features that a run reads, before anything else takes long; its costs are those of all its stores.

    Raises:
        InputError: the disk has not enough room for all of them, or images give no pixels.
    """
    settings = state.settings
    if training and untrained_backbone(settings, model):
        state.warnings.append("the frozen backbone has random weights; give backbone.weights=FILE or pretrained=true")
    if note := unused_store(settings, model):
        state.console.print(
            f"the features of the frozen backbone are not stored: {note}", highlight=False, markup=False
        )
    if not stores_features(settings, model):
        return
    source, scales = feature_source(settings, model, state.console), model.described_scales(local=local)
    wanted = [
        source.images(dataset.queries, scales, "features of queries"),
        source.images(dataset.database, scales, "features of database"),
    ]
    if training:
        data = RetrievalDataModule(dataset, model.recipe, model.protocol, seed=settings.seed)
        wanted = [*training_stores(data, source).values(), *wanted]
    stores = {store.key: store for store in source.open(*wanted)}.values()
    _tell_costs(state, list(stores), source)


def _tell_costs(state: RunState, stores: list[FeatureStore], source: FeatureSource) -> None:
    reused = "" if source.made else " (stored by an earlier run)"
    state.cost(f"feature extraction{reused}", sum(store.seconds for store in stores), "s")
    state.cost("stored features", sum(store.bytes for store in stores) / 2**20, "MiB")


def training_note(settings: RunSettings, model: RetrievalModule, trained: Trained | None) -> str:
    """What learnt, on which views of the images, and from what the pooling started, for the protocol card."""
    if trained is None:
        return "none"
    recipe = model.recipe
    views = "random views" if recipe.views == "random" else "one centre view per image"
    started = f", pooling started from {trained.start_images} training images" if trained.start_images else ""
    if recipe.freeze == "none":
        return f"whole network, {views}{started}"
    stored = f", on stored features ({settings.train.feature_dtype})" if stores_features(settings, model) else ""
    return f"backbone frozen ({_backbone_source(settings, model)}), {views}{stored}{started}"


def untrained_backbone(settings: RunSettings, model: RetrievalModule) -> bool:
    """Whether a backbone that does not learn has not learnt before."""
    return model.recipe.freeze == "backbone" and _backbone_source(settings, model) == UNTRAINED


def _backbone_source(settings: RunSettings, model: RetrievalModule) -> str:
    """Where the tensors of a backbone come from."""
    part = model.settings["backbone"]
    if settings.weights is not None:
        return settings.weights.name
    if part.get("pretrained"):
        return "timm's pre-trained weights"
    if part.get("weights") is None:
        return UNTRAINED
    path = Path(part["weights"])
    own = own_entry(read_weights(path, "backbone.weights=").extra, path)
    return path.name if own is None else f"{path.name}, trained on {own['trained_on']}"
