"""What the training of CVNet-Global can be told."""

import math
from dataclasses import dataclass
from typing import Literal

from retrieval_bench.settings.errors import InputError


@dataclass(frozen=True)
class TrainingOptions:
    """Weights of the two losses, and the momentum branch.

    The authors published no training code. "Third party": what an unofficial re-implementation (edwardguil/SuperCVNet)
    gives as the paper's. "Unverified": chosen here.

    Attributes:
        class_weight, contrast_weight: of the losses; third party. A `contrast_weight` of 0 leaves the branch out.
        contrast_margin: radians, CurricularFace's on the cosine to positives; unverified.
        temperature: of the contrastive softmax; third party.
        momentum: share of the old weights in an update of the momentum network; third party.
        momentum_batchnorm: statistics in the momentum network; unverified. ``"batch"``: the batch's, as in MoCo, so
            that both networks normalise alike from the first step on; ``"running"``: the network's running statistics,
            which let nothing pass between the images of a batch.
        queue_size: K, the descriptors that are kept; unverified. Never more than one pass over the training images is
            used, so that small training sets are not compared with what the network was long ago.

    Raises:
        InputError: a value out of its range.
    """

    class_weight: float = 0.5
    contrast_weight: float = 0.5
    contrast_margin: float = 0.15
    temperature: float = 1 / 30
    momentum: float = 0.999
    momentum_batchnorm: Literal["batch", "running"] = "batch"
    queue_size: int = 73728

    def __post_init__(self) -> None:
        _within("class_weight", self.class_weight, 0, math.inf)
        _within("contrast_weight", self.contrast_weight, 0, math.inf)
        _within("contrast_margin", self.contrast_margin, 0, math.pi / 2)
        _within("temperature", self.temperature, 1e-3, math.inf)
        _within("momentum", self.momentum, 0, 1)
        _within("queue_size", self.queue_size, 1, math.inf)
        if self.class_weight == self.contrast_weight == 0:
            raise InputError("class_weight and contrast_weight are both 0, which leaves nothing to train")


def _within(name: str, value: float, low: float, high: float) -> None:
    """Raise an `InputError` where a value lies outside ``low .. high`` or is not finite."""
    if not (low <= value <= high and math.isfinite(value)):
        bound = f"from {low:.4g} up" if high == math.inf else f"in {low:.4g} .. {high:.4g}"
        raise InputError(f"{name} must lie {bound}, got {value}")
