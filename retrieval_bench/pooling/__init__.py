"""One file per pooling head: (B, C, H, W) -> (B, C')."""
