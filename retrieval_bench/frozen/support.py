"""Which methods can be trained and evaluated on stored features."""

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.registry import METHODS

OF_IMAGES = (
    "training_losses",
    "losses",
    "features",
    "pyramid",
    "embed",
    "describe",
    "global_descriptors",
    "normalise",
    "checked",
    "training_step",
    "validation_step",
)
"""What a method that overrides it makes of images, stored features would leave out."""


def overridden(method: type[RetrievalModule]) -> list[str]:
    """What keeps a method from stored features; empty where nothing does."""
    found = [name for name in OF_IMAGES if getattr(method, name) is not getattr(RetrievalModule, name)]
    predicts, knows = (
        getattr(method, name) is not getattr(RetrievalModule, name) for name in ("predict_step", "described_scales")
    )
    return [*found, "predict_step"] if predicts and not knows else found


def able_methods() -> list[str]:
    """The names of the methods that nothing keeps from stored features."""
    parts = {name: METHODS.get(name) for name in METHODS.names()}
    return [name for name, part in parts.items() if isinstance(part, type) and not overridden(part)]
