"""One file per loss."""

from retrieval_bench.losses.base import LOSSES, ClassificationLoss, MetricLoss, list_losses, register_loss

__all__ = ["LOSSES", "ClassificationLoss", "MetricLoss", "list_losses", "register_loss"]
