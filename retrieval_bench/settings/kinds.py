"""The kinds of parts there are, and where each is kept: what a command that works on any kind has to know."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from retrieval_bench.settings.registry import Registry


@dataclass(frozen=True)
class Kind:
    """One kind of part.

    Attributes:
        plural: as in ``retrieval-bench list``.
        room: the folder of the built-in ones, below the package.
        module, attribute: where its registry is.
        given: constructor parameters that the surroundings fill; they are no options.
    """

    plural: str
    room: str
    module: str
    attribute: str
    given: frozenset[str]

    def registry(self) -> Registry:
        """Its registry; the room is imported when this is asked for."""
        found: Any = getattr(import_module(f"retrieval_bench.{self.module}"), self.attribute)
        assert isinstance(found, Registry)
        return found

    def options(self, name: str) -> dict[str, Any]:
        """The options of a part that a user may set: name -> parameter."""
        parameters = self.registry().options(name)
        return {key: value for key, value in parameters.items() if key not in self.given}


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "pooling": Kind(
            "poolings",
            "pooling",
            "pooling.base",
            "POOLINGS",
            frozenset({"in_channels", "earlier_channels", "token_channels"}),
        ),
        "loss": Kind("losses", "losses", "losses.base", "LOSSES", frozenset({"in_channels", "dim", "num_classes"})),
        "method": Kind("methods", "methods", "methods.registry", "METHODS", frozenset({"num_classes"})),
        "reranker": Kind(
            "rerankers",
            "reranking",
            "reranking.base",
            "RERANKERS",
            frozenset({"model", "ground_truth", "junk_rows"}),
        ),
        "batch_attention": Kind(
            "batch_attentions", "batch_attention", "batch_attention.base", "BATCH_ATTENTIONS", frozenset({"dim"})
        ),
        "dataset": Kind("datasets", "data", "data.registry", "DATASETS", frozenset({"root"})),
        "backbone": Kind("backbones", "backbones", "backbones.base", "BACKBONES", frozenset({"out_stages"})),
    }
)
"""By the word that stands for one on the command line: ``pooling``, ``batch_attention`` ..."""
