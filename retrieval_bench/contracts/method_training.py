"""What every method owes while it trains, and when it is saved and loaded."""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytorch_lightning as pl
import torch

from retrieval_bench.contracts.contract import Check, Part
from retrieval_bench.contracts.expectations import (
    Broken,
    require,
    require_equal,
    require_finite,
    require_gradient,
    require_refusal,
)
from retrieval_bench.contracts.tiny_method import TINY, build, optimiser_of, pictures, step, takes
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.registry import METHODS, create_model
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.weights.own_entry import OWN

BY_HAND = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "channel_order": "bgr"}
"""Pixel values that no method has by default."""


def losses(part: Part) -> None:
    """Losses are finite scalars, and one is called `loss`."""
    found = build(part).train().losses(pictures(4, 48, 48), torch.tensor([0, 1, 2, 0]))
    require("loss" in found, f"losses are called {', '.join(found)}; the one that is minimised is called loss")
    for name, value in found.items():
        require(value.ndim == 0, f"{name} has shape {tuple(value.shape)}; a loss is a scalar")
        require_finite(value, name)


def every_weight_learns(part: Part) -> None:
    """Every trainable parameter gets a finite gradient, and every matrix one that is not zero, by the second step."""
    model = build(part).train()
    images, labels = pictures(6, 64, 64), torch.tensor([0, 1, 2, 0, 1, 2])
    optimiser = optimiser_of(model, lr=0.1)
    # Layers behind one that starts at zero get their first gradient when that has moved.
    for _ in range(2):
        step(model, images, labels, optimiser)
    trainable = {name: value for name, value in model.named_parameters() if value.requires_grad}
    require(bool(trainable), "nothing in it is trainable")
    slopes = {name: require_gradient(value, name) for name, value in trainable.items()}
    zero = [name for name, slope in slopes.items() if slope.ndim > 1 and not slope.any()]
    require(not zero, f"the gradient of {', '.join(zero[:6])} is zero")


def a_step_lowers_the_loss(part: Part) -> None:
    """Three small steps on a batch lower its loss."""
    model = build(part).train()
    images, labels = pictures(6, 48, 48), torch.tensor([0, 1, 2, 0, 1, 2])
    optimiser = optimiser_of(model, lr=1e-3)
    before = model.losses(images, labels)["loss"].item()
    for _ in range(3):
        step(model, images, labels, optimiser)
    after = model.losses(images, labels)["loss"].item()
    require(after < before, f"three steps took the loss of a batch from {before:.5g} to {after:.5g}")


def classes_needed(part: Part) -> None:
    """Without `num_classes` it is built, and refuses to train."""
    require(takes(part, "num_classes"), "its constructor has no num_classes; a run gives it the training set's")
    model = build(part, num_classes=None)
    require_refusal(
        lambda: model.losses(pictures(2, 32, 32), torch.tensor([0, 1])),
        "training without num_classes",
        says=["built without num_classes; give it to create_model"],
    )


def wrong_labels(part: Part) -> None:
    """Labels that are too few, of another shape or kind, or of no class are refused."""
    cases = {
        "too few labels": torch.tensor([0]),
        "labels (2, 1)": torch.tensor([[0], [1]]),
        "label 3 of 3 classes": torch.tensor([0, 3]),
        "label -1": torch.tensor([-1, 0]),
        "float labels": torch.tensor([0.0, 1.0]),
    }
    model = build(part)
    for what, wrong in cases.items():
        require_refusal(partial(model.losses, pictures(2, 32, 32), wrong), what, says=["labels must be"])


def checkpoint(part: Part) -> None:
    """A model that loads the checkpoint of another describes alike to the last bit, and says where it came from."""
    model = build(part, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        loaded = create_model(part.name, weights=save(model, Path(folder) / "own.ckpt"))
    images = pictures(2, 48, 40)
    require_equal(loaded.describe(images), model.describe(images), "descriptors of the loaded and of the saved model")
    for name, value in model.settings.items():
        require(
            loaded.settings.get(name) == value,
            f"setting {name} is {loaded.settings.get(name)!r} after loading and was {value!r}",
        )
    require(loaded.settings.keys() == model.settings.keys(), "the loaded model has other settings than the saved one")
    require(not loaded.training, "the loaded model is in training mode")
    require(
        loaded.weights_source == f"own.ckpt ({OWN})",
        f"weights_source is {loaded.weights_source!r}, not 'own.ckpt ({OWN})'",
    )
    require(loaded.unused_weights == {}, f"loading left tensors unused: {', '.join(loaded.unused_weights)}")
    require(loaded.absent_weights == (), f"the checkpoint lacks tensors: {', '.join(loaded.absent_weights)}")


def trainer_checkpoint(part: Part) -> None:
    """A checkpoint that Lightning's trainer writes loads without executing code."""
    model = build(part, seed=1)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.strategy.connect(model)
    images = pictures(1, 48, 40)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.ckpt"
        trainer.save_checkpoint(path, weights_only=True)
        loaded = create_model(part.name, weights=path)
    require_equal(loaded.describe(images), model.describe(images), "descriptors of the loaded and of the saved model")


def training_set_is_kept(part: Part) -> None:
    """The name of the training set travels with the weights."""
    model = build(part)
    model.trained_on = "synthetic train: 5 images, 3 classes"
    with tempfile.TemporaryDirectory() as folder:
        loaded = create_model(part.name, weights=save(model, Path(folder) / "own.ckpt"))
    require(loaded.trained_on == model.trained_on, f"trained_on is {loaded.trained_on!r} and was {model.trained_on!r}")


def normalisation_is_kept(part: Part) -> None:
    """What pixel values the weights expect travels with them, though the settings that said so do not."""
    if not takes(part, "backbone"):
        raise SkipTest("it takes no backbone, so there is none to bring a normalisation")
    given = part.options.get("backbone", TINY["backbone"])
    named = {"name": given} if isinstance(given, str) else dict(given)
    model = build(part, backbone={**named, "normalisation": BY_HAND})
    wanted = {**BY_HAND, "source": model.normalisation_source}
    found = Normalisation.of(model.protocol, model.normalisation_source).plain()
    require(found == wanted, f"backbone.normalisation is {wanted}, but its protocol has {found}")
    with tempfile.TemporaryDirectory() as folder:
        loaded = create_model(part.name, weights=save(model, Path(folder) / "own.ckpt"))
    found = Normalisation.of(loaded.protocol, loaded.normalisation_source).plain()
    require(found == wanted, f"it was trained with {wanted}; built from its checkpoint it has {found}")
    images = pictures(1, 48, 40)
    require_equal(loaded.describe(images), model.describe(images), "descriptors of the loaded and of the saved model")


def settings(part: Part) -> None:
    """What a checkpoint stores is plain JSON, from which the model is built again with the same settings."""
    entry = json.loads(build(part).own_entry())
    require(entry["method"] == part.name, f"the checkpoint says method {entry['method']!r}, not {part.name!r}")
    for name in ("num_classes", "dim"):
        if takes(part, name):
            wanted = {"num_classes": 3, "dim": 16, **part.options}[name]
            require(
                entry["settings"].get(name) == wanted,
                f"settings[{name!r}] is {entry['settings'].get(name)!r}, not {wanted!r}; hand the constructor's "
                "arguments to super().__init__(settings=...)",
            )
    again = json.loads(METHODS.create(part.name, entry["settings"]).own_entry())
    require(again["settings"] == entry["settings"], f"built from its settings it has others: {again['settings']}")


def recipes_and_card(part: Part) -> None:
    """It has a base recipe and a card with title and paper; printed figures are shares with a source."""
    model = build(part)
    require("base" in model.recipes, "its recipes have no 'base'")
    card = getattr(type(model), "card", None)
    if card is None:
        raise Broken("it has no card; give it one: MethodCard(title=..., paper=..., ...)")
    require(bool(card.title) and bool(card.paper), "its card has no title or no paper; 'unpublished' is one, too")
    for figure in card.published:
        require(
            0 < figure.map < 1 and bool(figure.source),
            f"the printed figure {figure.map} is no share in 0 .. 1, or has no source",
        )


def save(model: RetrievalModule, path: Path) -> Path:
    """Write a model's own checkpoint as Lightning would, and return its path."""
    if "backbone" not in model.settings:
        raise SkipTest("its settings name no backbone, so a checkpoint cannot say what it stood on")
    content: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    torch.save(content, path)
    return path


CHECKS: tuple[Check, ...] = (
    losses,
    every_weight_learns,
    a_step_lowers_the_loss,
    classes_needed,
    wrong_labels,
    checkpoint,
    trainer_checkpoint,
    training_set_is_kept,
    normalisation_is_kept,
    settings,
    recipes_and_card,
)
