"""Curves for pictures: few enough points to draw, each of them exactly on the curve.

The thresholds are scores of evenly spaced rank among the anomalous and among the normal points, so
that neither axis leaves a gap wider than ties make.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from zeroflaw.metrics.counts import Real, by_class, checked_scores, run_starts
from zeroflaw.metrics.pro import by_score, checked_regions, dense_regions
from zeroflaw.types import Float64, Int64

POINTS = 1000
Curve = tuple[Float64, Float64]


def roc_curve(scores: ArrayLike, labels: ArrayLike, points: int = POINTS) -> Curve:
    """Return false-positive rates and true-positive rates, from (0, 0) to (1, 1).

    scores: (N,), higher is more anomalous. labels: (N,) bool. points: at most so many, 8 or more;
    with fewer distinct scores the curve is complete. Returns two arrays (K,), both empty if a class
    is missing. Raises ZeroflawError as `ranking`.
    """
    anomalous, normal = by_class(scores, labels)
    if not (len(anomalous) and len(normal)):
        return _nothing()
    thresholds = _thresholds(anomalous, normal, points)
    return (
        _from_zero(_at_least(normal, thresholds) / len(normal)),
        _from_zero(_at_least(anomalous, thresholds) / len(anomalous)),
    )


def precision_recall_curve(scores: ArrayLike, labels: ArrayLike, points: int = POINTS) -> Curve:
    """Return recalls and precisions, from the highest threshold to the one that marks everything.

    scores: (N,), higher is more anomalous. labels: (N,) bool. points: at most so many, 8 or more.
    Returns two arrays (K,), the recalls rising to 1, both empty if a class is missing. Raises
    ZeroflawError as `ranking`.
    """
    anomalous, normal = by_class(scores, labels)
    if not (len(anomalous) and len(normal)):
        return _nothing()
    thresholds = _thresholds(anomalous, normal, points)
    found = _at_least(anomalous, thresholds)
    marked = found + _at_least(normal, thresholds)
    return found / len(anomalous), found / marked


def pro_curve(scores: ArrayLike, region: ArrayLike, points: int = POINTS) -> Curve:
    """Return false-positive rates and the regions' mean recalled shares, from (0, 0) to (1, 1).

    scores: (N,), higher is more anomalous. region: (N,) integers as in `au_pro`. points: at most so
    many, 8 or more. Returns two arrays (K,), both empty without a region or a normal point. Raises
    ZeroflawError as `au_pro`.
    """
    array = checked_scores(scores)
    number = checked_regions(region, len(array))
    inside = np.flatnonzero(number >= 0)
    normal = array[number < 0]
    if not (len(inside) and len(normal)):
        return _nothing()
    normal.sort()
    anomalous, member = by_score(array[inside], dense_regions(number[inside]))
    thresholds = _thresholds(anomalous, normal, points)
    weight = (1.0 / np.bincount(member))[member]
    recalled = np.concatenate([[0.0], np.cumsum(weight[::-1])])
    return (
        _from_zero(_at_least(normal, thresholds) / len(normal)),
        _from_zero(recalled[_at_least(anomalous, thresholds)] / recalled[-1]),
    )


def _nothing() -> Curve:
    return np.empty(0), np.empty(0)


def _thresholds(anomalous: Real, normal: Real, points: int) -> Real:
    """Distinct scores of both classes, highest first, the ends among them. Both: sorted."""
    if points < 8:
        raise ValueError(f"cannot draw a curve with {points} points; give at least 8")
    room = points - 1  # one is the origin
    distinct = [ordered[run_starts(ordered)] for ordered in (anomalous, normal)]
    if sum(map(len, distinct)) <= room:
        return np.unique(np.concatenate(distinct))[::-1]
    few = max(room // 2, room - len(normal))
    picked = _evenly(anomalous, few)
    return np.unique(np.concatenate([picked, _evenly(normal, room - len(picked))]))[::-1]


def _evenly(ordered: Real, most: int) -> Real:
    """At most so many of the sorted values, evenly spaced, the first and the last among them."""
    if len(ordered) <= most:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, most).astype(np.int64)]


def _at_least(ordered: Real, thresholds: Real) -> Int64:
    """How many of the sorted values reach each threshold, (K,)."""
    return len(ordered) - np.searchsorted(ordered, thresholds, side="left")


def _from_zero(values: Float64) -> Float64:
    return np.concatenate([[0.0], values])
