"""What makes stored features what they are: the key under which a store is kept.

Pooling, loss, projection, seed and the merging of scales are no part of it, so ablations of these share a store; nor is
the file that the backbone's weights came from, but their values are.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from retrieval_bench.backbones.base import Backbone
from retrieval_bench.extraction.digest import canonical_digest, code_digest, model_digest
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.settings.protocol import Protocol

ROOMS = (
    "data",
    "backbones",
    "frozen",
    "methods/base.py",
    "methods/filling.py",
    "methods/pyramid.py",
    "methods/grey_levels.py",
    "methods/image_values.py",
)
"""The code between an image file and stored features."""

ABOVE = {"merge", "merge_exponent"}
"""What a protocol says of the descriptors, and not of the features."""

ELSEWHERE = {"weights", "pretrained", "normalisation"}
"""Options of a backbone that the key holds otherwise: where its tensors come from, and how images are normalised."""

MOST_STAGES = 5
"""That a backbone has."""


class Asked(NamedTuple):
    """What is read of the backbone.

    Attributes:
        stages: how many of the last stages.
        tokens: whether tokens too.
    """

    stages: int
    tokens: bool

    def __str__(self) -> str:
        return f"{self.stages} stage{'s' if self.stages > 1 else ''}{' and tokens' if self.tokens else ''}"

    def or_more(self) -> list["Asked"]:
        """This, and everything that holds it too."""
        also = (True,) if self.tokens else (False, True)
        return [Asked(stages, tokens) for stages in range(self.stages, MOST_STAGES + 1) for tokens in also]


def asked(model: RetrievalModule) -> Asked:
    """What the model reads of its backbone."""
    backbone = cast(Backbone, model.backbone)
    return Asked(len(backbone.channels), backbone.token_channels is not None)


def backbone_parts(model: RetrievalModule, dtype: str) -> dict[str, str]:
    """The part of a key that all stores of a model have in common, by name.

    Args:
        model: with its backbone.
        dtype: of the stored values.
    """
    options = {key: value for key, value in model.settings["backbone"].items() if key not in ELSEWHERE}
    return {
        "backbone": canonical_digest(options),
        "weights": model_digest(model.backbone),
        "code": code_digest(model.backbone, ROOMS),
        "dtype": dtype,
    }


def reading_digest(protocol: Protocol, scales: Sequence[float]) -> str:
    """Of whole images at some scales."""
    content: dict[str, Any] = protocol.model_dump(mode="json", exclude=ABOVE)
    return canonical_digest({**content, "scales": [float(scale) for scale in scales]})


def view_digest(protocol: Protocol, size: int) -> str:
    """Of centre views of `size` pixels."""
    kept = protocol.model_dump(mode="json", include={"exif", "channel_order", "mean", "std"})
    return canonical_digest({**kept, "centre view": size})
