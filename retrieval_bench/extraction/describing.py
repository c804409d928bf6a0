"""What extraction asks of a model. Every method's LightningModule has it; extraction imports none of them."""

from collections.abc import Mapping
from typing import Any
from typing import Protocol as TypingProtocol

from torch import Tensor

from retrieval_bench.settings.protocol import Protocol


class DescribingModel(TypingProtocol):
    """A LightningModule whose `predict_step` turns a batch of images into descriptors.

    Its `predict_step` takes ``{"indices": (B,) int64, "images": (B, 3, H, W) uint8 RGB}`` and returns ``indices``,
    ``descriptors`` ``(B, D)`` and, where `extract_local` is set, ``local_features``, a `LocalFeatures` per image.

    Attributes:
        method: its name.
        settings: the arguments it was built with, plain values.
        protocol: how images are read, normalised and merged over scales.
        has_local_features: whether it can return local features.
        extraction_scales: the image pyramid in place of the protocol's; None keeps that.
        extract_local: whether `predict_step` returns local features.
    """

    method: str
    settings: dict[str, Any]
    protocol: Protocol
    extraction_scales: tuple[float, ...] | None
    extract_local: bool

    @property
    def has_local_features(self) -> bool:
        """Whether it can return local features."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """All tensors by name."""
