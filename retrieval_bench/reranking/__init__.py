"""Ranking -> better Ranking."""

from retrieval_bench.reranking.base import (
    RERANKERS,
    Reranker,
    create_reranker,
    list_rerankers,
    register_reranker,
    rerank,
)

__all__ = ["RERANKERS", "Reranker", "create_reranker", "list_rerankers", "register_reranker", "rerank"]
