"""Robust transforms between two images: one file per backend."""
