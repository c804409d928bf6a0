"""Who can use stored features is read from what a method overrides."""

from collections.abc import Mapping
from typing import Any

import retrieval_bench as rb
from retrieval_bench.frozen.support import able_methods, overridden
from retrieval_bench.methods.gem.module import Gem
from retrieval_bench.methods.registry import METHODS


def test_methods_whose_losses_need_images_cannot():
    assert set(rb.list_methods()) - set(able_methods()) == {"cvnet", "superglobal"}
    assert "training_losses" in overridden(METHODS.get("cvnet"))


def test_a_method_of_the_user_is_judged_likewise():
    class Head(Gem):
        def feature_losses(self, features: Any, labels: Any) -> Any:
            return super().feature_losses(features, labels)

    class Images(Gem):
        def features(self, images: Any) -> Any:
            return super().features(images)

    class Predicts(Gem):
        def predict_step(self, batch: Mapping[str, Any], batch_idx: int = 0) -> dict[str, Any]:
            return super().predict_step(batch, batch_idx)

    assert overridden(Head) == []
    assert overridden(Images) == ["features"]
    assert overridden(Predicts) == ["predict_step"]
