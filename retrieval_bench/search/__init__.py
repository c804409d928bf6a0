"""Descriptors -> Ranking: exact in torch, or with faiss behind the same interface."""

from retrieval_bench.search.backends import BACKENDS, search

__all__ = ["BACKENDS", "search"]
