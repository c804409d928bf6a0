"""Ranking + ground truth -> metrics, intervals, significance."""
