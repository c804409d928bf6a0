"""One folder per method, on the base they share."""

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.registry import METHODS, create_model, list_methods, register_method

__all__ = ["METHODS", "RetrievalModule", "create_model", "list_methods", "register_method"]
