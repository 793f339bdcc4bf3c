"""Metrics of ranking: how well scores put the anomalous above the normal."""

from __future__ import annotations

import math
from typing import NamedTuple

from numpy.typing import ArrayLike

from zeroflaw.metrics.counts import Counts, by_class, counted


class Ranking(NamedTuple):
    """What one sort of the scores tells; all nan if a class is missing."""

    auroc: float
    average_precision: float
    best_f1: float


def ranking(scores: ArrayLike, labels: ArrayLike) -> Ranking:
    """Return AUROC, average precision and the highest F1 from one sort.

    scores: (N,), higher is more anomalous. labels: (N,) bool. Items of equal scores are told apart
    by no threshold, and their order does not matter. Raises ZeroflawError for NaN or infinite
    scores and for labels that do not match them.
    """
    counts = counted(*by_class(scores, labels))
    return Ranking(_auroc(counts), _average_precision(counts), _best_f1(counts))


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the area under the ROC curve, ties counted half; nan if a class is missing.

    scores: (N,), higher is more anomalous. labels: (N,) bool. Raises ZeroflawError as `ranking`.
    """
    return _auroc(counted(*by_class(scores, labels)))


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the precision at each threshold, weighted by the recall it adds.

    scores: (N,), higher is more anomalous. labels: (N,) bool. Nan if a class is missing. There is
    no interpolation between thresholds. Raises ZeroflawError as `ranking`.
    """
    return _average_precision(counted(*by_class(scores, labels)))


def best_f1(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the highest F1 over all thresholds; nan if a class is missing.

    scores: (N,), higher is more anomalous. labels: (N,) bool. Raises ZeroflawError as `ranking`.
    """
    return _best_f1(counted(*by_class(scores, labels)))


def _auroc(counts: Counts) -> float:
    if counts.anomalous == 0 or counts.normal == 0:
        return math.nan
    return counts.wins() / (counts.anomalous * counts.normal)


def _average_precision(counts: Counts) -> float:
    if counts.anomalous == 0 or counts.normal == 0:
        return math.nan
    precision = counts.found / (counts.found + counts.at_least)
    return float((precision * counts.same).sum() / counts.anomalous)


def _best_f1(counts: Counts) -> float:
    if counts.anomalous == 0 or counts.normal == 0:
        return math.nan
    # F1 = 2 TP / (2 TP + FP + FN). Thresholds between anomalous scores only add false positives.
    return float((2 * counts.found / (counts.found + counts.at_least + counts.anomalous)).max())
