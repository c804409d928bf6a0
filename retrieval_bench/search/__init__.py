"""Descriptors -> Ranking."""
