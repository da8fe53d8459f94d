"""Scores: metrics, their group-bootstrap intervals, and the losses of the heads."""

from .intervals import Interval, bootstrap_interval, bootstrap_scores, paired_interval
from .metrics import METRICS, Metric, get_metric

__all__ = [
    "METRICS",
    "Interval",
    "Metric",
    "bootstrap_interval",
    "bootstrap_scores",
    "get_metric",
    "paired_interval",
]
