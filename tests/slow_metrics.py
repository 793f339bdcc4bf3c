"""The metrics once more, straight from their definitions: every threshold, one at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Labels = NDArray[np.bool_]
Regions = NDArray[np.int64]


def slow_auroc(scores: Scores, labels: Labels) -> float:
    """Share of pairs in the right order, ties counted half."""
    anomalous, normal = scores[labels], scores[~labels]
    if len(anomalous) == 0 or len(normal) == 0:
        return math.nan
    higher = (anomalous[:, None] > normal).mean()
    return float(higher + 0.5 * (anomalous[:, None] == normal).mean())


def slow_average_precision(scores: Scores, labels: Labels) -> float:
    """Sum over thresholds of precision times the recall gained."""
    if labels.all() or not labels.any():
        return math.nan
    total, recall_before = 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        marked = scores >= threshold
        recall = float(labels[marked].sum() / labels.sum())
        total += (recall - recall_before) * float(labels[marked].mean())
        recall_before = recall
    return total


def slow_best_f1(scores: Scores, labels: Labels) -> float:
    """The highest harmonic mean of precision and recall."""
    if labels.all() or not labels.any():
        return math.nan
    best = 0.0
    for threshold in np.unique(scores):
        marked = scores >= threshold
        precision, recall = labels[marked].mean(), labels[marked].sum() / labels.sum()
        if precision + recall > 0:
            best = max(best, float(2 * precision * recall / (precision + recall)))
    return best


def slow_pro_curve(scores: Scores, region: Regions) -> tuple[list[float], list[float]]:
    """False-positive rate and mean recalled share at every threshold, from none to all."""
    rates, shares = [0.0], [0.0]
    for threshold in np.unique(scores)[::-1]:
        marked = scores >= threshold
        rates.append(float(marked[region < 0].mean()))
        regions = [marked[region == one].mean() for one in np.unique(region[region >= 0])]
        shares.append(float(np.mean(regions)))
    return rates, shares


def slow_au_pro(scores: Scores, region: Regions, limit: float = 0.3) -> float:
    """Trapezoids of the curve, the last one cut where the limit crosses it."""
    if (region < 0).all() or (region >= 0).all():
        return math.nan
    rates, shares = slow_pro_curve(scores, region)
    area = 0.0
    for i in range(1, len(rates)):
        x0, x1, y0, y1 = rates[i - 1], rates[i], shares[i - 1], shares[i]
        if x0 >= limit:
            break
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def slow_coverage_auc(scores: Sequence[Scores], labels: Sequence[Labels]) -> float:
    """Mean over anomalous scans of the trapezoids under found against taken."""
    areas = []
    for values, marks in zip(scores, labels, strict=True):
        if not marks.any():
            continue
        taken, found = [0.0], [0.0]
        for threshold in np.unique(values)[::-1]:
            marked = values >= threshold
            taken.append(float(marked.mean()))
            found.append(float(marks[marked].sum() / marks.sum()))
        steps = range(1, len(taken))
        areas.append(sum((taken[i] - taken[i - 1]) * (found[i] + found[i - 1]) / 2 for i in steps))
    return float(np.mean(areas)) if areas else math.nan
