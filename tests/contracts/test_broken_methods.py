"""Methods that are wrong in one way fail the check of that way, with a reason that says so."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.card import MethodCard
from retrieval_bench.methods.parts import build_backbone, build_loss, build_pooling, resolve
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.values.features import Features
from retrieval_bench.values.local_features import LocalFeatures


class Right(RetrievalModule):
    """A backbone, a pooling and a projection."""

    card = MethodCard(title="Right", paper="unpublished", code="own", implementation="own")

    def __init__(
        self,
        *,
        backbone: Mapping[str, Any] | None = None,
        pooling: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        dim: int | None = None,
        num_classes: int | None = None,
    ):
        parts = {
            "backbone": resolve(backbone, {"name": "resnet18"}),
            "pooling": resolve(pooling, {"name": "spoc"}),
            "loss": resolve(loss, {"name": "normsoftmax"}),
        }
        super().__init__(
            method=f"{type(self).__name__.lower()}_for_test",
            settings={**parts, "dim": dim or 64, "num_classes": num_classes},
            protocol=Protocol(scales=(1.0, 0.5)),
        )
        self.backbone = build_backbone(parts["backbone"], 1, parts["pooling"])
        self.pooling = build_pooling(parts["pooling"], self.backbone.channels[-1], self.backbone)
        self.projection = nn.Linear(self.pooling.out_channels, dim or 64)
        self.loss = build_loss(parts["loss"], dim or 64, num_classes)

    def head(self, features: Features) -> Tensor:
        return self.projection(self.pooled(features.maps[-1], features))


class Long(Right):
    """Describes without normalising."""

    def describe(self, images: Tensor, scales: Any = None) -> Tensor:
        return 2 * super().describe(images, scales)


class BatchLeak(Right):
    """Takes the mean of the batch away."""

    def head(self, features: Features) -> Tensor:
        found = super().head(features)
        return found - 0.5 * found.mean(dim=0)


class Blind(Right):
    """Sees nothing of its images."""

    def head(self, features: Features) -> Tensor:
        return 0 * super().head(features) + 1


class Dropping(Right):
    """Drops values when it describes."""

    def head(self, features: Features) -> Tensor:
        return nn.functional.dropout(super().head(features), 0.2, training=True)


class Trusting(Right):
    """Takes any images."""

    def checked(self, images: Tensor, *, describing: bool = True) -> Tensor:
        return images.float() / (255 if images.dtype == torch.uint8 else 1)


class Byte(Right):
    """Forgets that bytes go up to 255."""

    def checked(self, images: Tensor, *, describing: bool = True) -> Tensor:
        return super().checked(images.float() / 256 if images.dtype == torch.uint8 else images, describing=describing)


class Detached(Right):
    """Trains its last bias only."""

    def head(self, features: Features) -> Tensor:
        return super().head(features).detach() + 0 * self.projection.bias


class ForgottenState(Right):
    """Has weights outside of the state_dict."""

    def head(self, features: Features) -> Tensor:
        if not hasattr(self, "offset"):
            self.offset = torch.rand(1)
        return super().head(features) + self.offset


class ForgottenSetting(Right):
    """Does not store its number of dimensions."""

    def own_entry(self) -> str:
        self.settings["dim"] = 8
        return super().own_entry()


class ForgottenNormalisation(Right):
    """Does not store what pixel values it was trained on."""

    def own_entry(self) -> str:
        return json.dumps({**json.loads(super().own_entry()), "normalisation": None})


class Misnamed(Right):
    """Goes by another name."""

    def own_entry(self) -> str:
        self.method = "gem"
        return super().own_entry()


class Alone(Right):
    """Has no base recipe."""

    recipes: ClassVar[Mapping[str, Recipe]] = {}


class Vectors(Right):
    """Gives one loss per image."""

    def feature_losses(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        losses = super().feature_losses(features, labels)
        return {**losses, "each": labels.float()}


class Uphill(Right):
    """Climbs."""

    def feature_losses(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        loss = super().feature_losses(features, labels)["loss"]
        return {"loss": 2 * loss.detach() - loss}


class Outside(Right):
    """Finds keypoints outside of the image."""

    has_local_features = True

    def local_features(self, images: Tensor) -> list[LocalFeatures]:
        one = LocalFeatures(torch.full((1, 2), 900.0), torch.ones(1, 1), torch.ones(1), torch.ones(1))
        return [one] * len(images)


class Stubborn(Right):
    """Has one scale, whatever its protocol says."""

    def describe(self, images: Tensor, scales: Any = None) -> Tensor:
        return super().describe(images, (0.5,) if scales is None else scales)


WRONG = [
    (Long, {"unit-norm-at-any-size"}, "norms of the descriptors of 2 images of 33 x 47 and 1: they differ by 1"),
    (BatchLeak, {"batch-independence"}, "descriptors in a batch of 3 and alone: they differ"),
    (Blind, {"images-differ"}, "two different images have the same descriptor"),
    (Dropping, {"batch-independence"}, "they differ"),
    (Trusting, {"wrong-images"}, "raise InputError with one line that says what was given and what is expected"),
    (Byte, {"uint8-equals-float"}, "descriptors of uint8 and of float images: they differ"),
    (Detached, {"every-weight-learns"}, "no gradient reaches"),
    (ForgottenState, {"checkpoint"}, "descriptors of the loaded and of the saved model"),
    (ForgottenNormalisation, {"normalisation-is-kept"}, "built from its checkpoint it has {'mean': (0.485"),
    (ForgottenSetting, {"settings"}, "settings['dim'] is 8, not 16"),
    (Misnamed, {"settings"}, "the checkpoint says method 'gem'"),
    (Alone, {"recipes-and-card"}, "its recipes have no 'base'"),
    (Vectors, {"losses"}, "each has shape (4,); a loss is a scalar"),
    (Uphill, {"a-step-lowers-the-loss"}, "three steps took the loss of a batch from"),
    (Outside, {"local-features"}, "keypoints lie outside the image"),
    (Stubborn, {"published-scales"}, "descriptors at no scales and the protocol's"),
]


def test_the_one_they_derive_from_is_right(failing):
    assert failing("method", Right) == {}


@pytest.mark.parametrize(("part", "checks", "reason"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_it_fails_the_right_check_for_the_right_reason(part, checks, reason, failing):
    found = failing("method", part)
    assert checks <= found.keys()
    assert any(reason in said for said in found.values()), found
