"""Ranking -> better Ranking."""
