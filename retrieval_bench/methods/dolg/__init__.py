"""DOLG."""
