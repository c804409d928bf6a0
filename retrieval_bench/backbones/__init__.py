"""timm backbones as feature maps by stage."""

from retrieval_bench.backbones.base import BACKBONES, Backbone, register_backbone
from retrieval_bench.backbones.factory import create_backbone, list_backbones

__all__ = ["BACKBONES", "Backbone", "create_backbone", "list_backbones", "register_backbone"]
