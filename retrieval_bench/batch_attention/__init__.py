"""One file per batch attention: the images of a training batch look at each other before the loss sees them."""

from retrieval_bench.batch_attention.base import (
    BATCH_ATTENTIONS,
    BatchAttention,
    attach,
    list_batch_attentions,
    register_batch_attention,
)

__all__ = ["BATCH_ATTENTIONS", "BatchAttention", "attach", "list_batch_attentions", "register_batch_attention"]
