"""DOLG's pooling."""
