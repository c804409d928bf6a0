"""CFCD."""
