"""Metrics by name."""

from zeroflaw.metrics.ranking import auroc

METRICS = {"auroc": auroc}
