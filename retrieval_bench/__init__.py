"""retrieval_bench: instance image retrieval methods, side by side.

Names are imported on first use, so that ``import retrieval_bench`` loads no torch.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval_bench.backbones import list_backbones
    from retrieval_bench.batch_attention import list_batch_attentions
    from retrieval_bench.bench import bench
    from retrieval_bench.data.registry import list_datasets, load_dataset
    from retrieval_bench.evaluation import evaluate
    from retrieval_bench.extraction.extract import extract
    from retrieval_bench.losses import list_losses
    from retrieval_bench.methods.registry import create_model, list_methods
    from retrieval_bench.pooling import list_poolings
    from retrieval_bench.reranking import list_rerankers, rerank
    from retrieval_bench.search import search
    from retrieval_bench.settings.errors import InputError
    from retrieval_bench.values.local_features import LocalFeatures
    from retrieval_bench.values.ranking import Ranking

__version__ = "0.1.0"

_HOMES = {
    "InputError": "settings.errors",
    "LocalFeatures": "values.local_features",
    "Ranking": "values.ranking",
    "bench": "bench",
    "create_model": "methods.registry",
    "evaluate": "evaluation",
    "extract": "extraction.extract",
    "list_backbones": "backbones",
    "list_batch_attentions": "batch_attention",
    "list_datasets": "data.registry",
    "list_losses": "losses",
    "list_methods": "methods.registry",
    "list_poolings": "pooling",
    "list_rerankers": "reranking",
    "load_dataset": "data.registry",
    "rerank": "reranking",
    "search": "search",
}

__all__ = [
    "InputError",
    "LocalFeatures",
    "Ranking",
    "bench",
    "create_model",
    "evaluate",
    "extract",
    "list_backbones",
    "list_batch_attentions",
    "list_datasets",
    "list_losses",
    "list_methods",
    "list_poolings",
    "list_rerankers",
    "load_dataset",
    "rerank",
    "search",
]


class _Package(ModuleType):
    """Keeps ``retrieval_bench.search`` and ``bench`` the functions although packages of these names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
