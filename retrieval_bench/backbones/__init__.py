"""timm backbones as feature maps by stage."""
