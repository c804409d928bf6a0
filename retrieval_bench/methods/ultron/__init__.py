"""ULTRON."""
