"""DELG."""
