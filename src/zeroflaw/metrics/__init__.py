"""Metrics by name."""

from collections.abc import Callable

from zeroflaw.metrics.coverage import coverage_auc
from zeroflaw.metrics.pro import au_pro
from zeroflaw.metrics.ranking import auroc, average_precision, best_f1

# The names of the figures in a table, without their level ("object_", "point_"). The first three
# take scores and labels, `pro` scores and regions, `coverage_auc` scores and labels scan by scan.
METRICS: dict[str, Callable[..., float]] = {
    "auroc": auroc,
    "ap": average_precision,
    "f1": best_f1,
    "pro": au_pro,
    "coverage_auc": coverage_auc,
}
