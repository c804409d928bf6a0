"""The two DELGs that are in use, and how each reads images."""

from dataclasses import dataclass
from typing import Any, Literal

from retrieval_bench.methods.protocols import pycls_protocol
from retrieval_bench.settings.protocol import Protocol


@dataclass(frozen=True)
class Preset:
    """What a variant fixes unless the user says otherwise."""

    pooling: dict[str, Any]
    loss: dict[str, Any]
    dim: int
    local_dim: int
    local_scales: tuple[float, ...]
    score_rule: Literal["top", "fixed", "halving"]
    score_threshold: float
    overlap: float
    protocol: Protocol


PRESETS = {
    # The published TensorFlow weights cannot be loaded here, so their score threshold (454.6) has no use: models
    # trained here have scores around 1, and the best features are kept whatever their scores.
    "paper": Preset(
        pooling={"name": "gem", "p": 3.0, "learnable": False},
        loss={"name": "arcface", "margin": 0.1, "scale": 45.25},
        dim=2048,
        local_dim=128,
        local_scales=tuple(2 ** (step / 2) for step in range(-4, 3)),
        score_rule="top",
        score_threshold=0.0,
        overlap=1.0,
        protocol=Protocol(
            resize="bilinear-antialias",
            image_size=1024,
            scales=(2**-0.5, 1.0, 2**0.5),
        ),
    ),
    "pytorch": Preset(
        pooling={"name": "gem", "p": 3.0},
        loss={"name": "curricularface", "margin": 0.15, "scale": 30.0},
        dim=512,
        local_dim=512,
        local_scales=(0.25, 0.3535, 0.5, 0.7071, 1.0, 1.4142, 2.0),
        score_rule="halving",
        score_threshold=260.0,
        overlap=0.98,
        protocol=pycls_protocol((0.7071, 1.0, 1.4142)),
    ),
}
