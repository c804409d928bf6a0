"""Ranking + ground truth -> metrics, intervals, significance.

Knows rankings, scores and descriptors only: bring them from anywhere.
"""

from retrieval_bench.evaluation.evaluate import evaluate
from retrieval_bench.evaluation.intervals import bootstrap_interval
from retrieval_bench.evaluation.metric import RevisitedMetric
from retrieval_bench.evaluation.result import Result
from retrieval_bench.evaluation.significance import PairedTest, paired_permutation_test
from retrieval_bench.evaluation.streaming import evaluate_descriptors, evaluate_scores, evaluate_stream

__all__ = [
    "PairedTest",
    "Result",
    "RevisitedMetric",
    "bootstrap_interval",
    "evaluate",
    "evaluate_descriptors",
    "evaluate_scores",
    "evaluate_stream",
    "paired_permutation_test",
]
