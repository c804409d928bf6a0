"""SENet's pooling."""
