"""One file per pooling head: (B, C, H, W) -> (B, C')."""

from retrieval_bench.pooling.base import POOLINGS, Pooling, list_poolings, register_pooling

__all__ = ["POOLINGS", "Pooling", "list_poolings", "register_pooling"]
