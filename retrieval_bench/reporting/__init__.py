"""Saved records -> tables, plots, pages. Needs no torch."""
