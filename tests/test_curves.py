"""Curves for pictures: exact points, few of them, the ends in place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from slow_metrics import slow_pro_curve
from zeroflaw.metrics.curves import precision_recall_curve, pro_curve, roc_curve
from zeroflaw.metrics.pro import au_pro
from zeroflaw.metrics.ranking import auroc, average_precision

MIXED = st.lists(st.tuples(st.integers(0, 9), st.integers(-3, 2)), min_size=2, max_size=50)


def area(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def uneven(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.02
    return rng.normal(2.0 * labels).astype(np.float32), labels


@given(MIXED)
def test_with_few_scores_the_curves_are_complete(points: list[tuple[int, int]]) -> None:
    scores = np.array([score for score, _ in points], dtype=np.float64)
    region = np.array([max(number, -1) for _, number in points])
    labels = region >= 0
    if labels.all() or not labels.any():
        for curve in (*roc_curve(scores, labels), *pro_curve(scores, region)):
            assert len(curve) == 0
        return
    assert area(*roc_curve(scores, labels)) == pytest.approx(auroc(scores, labels))
    recall, precision = precision_recall_curve(scores, labels)
    gained = np.diff(recall, prepend=0.0)
    assert (gained * precision).sum() == pytest.approx(average_precision(scores, labels))
    for ours, slow in zip(pro_curve(scores, region), slow_pro_curve(scores, region), strict=True):
        assert ours == pytest.approx(np.array(slow))


@pytest.mark.parametrize("points", [8, 100, 1000])
def test_thinned_curves_keep_their_ends_and_leave_no_gap(points: int) -> None:
    scores, labels = uneven(30_000)
    region = np.where(labels, np.arange(30_000) % 5, -1)
    for x, y in (roc_curve(scores, labels, points), pro_curve(scores, region, points)):
        assert len(x) == len(y) <= points
        assert (x[0], y[0]) == (0.0, 0.0)
        assert (x[-1], y[-1]) == (1.0, 1.0)
        assert (np.diff(x) >= 0).all()
        assert (np.diff(y) >= 0).all()
        assert max(np.diff(x).max(), np.diff(y).max()) < 5.0 / points
    recall, precision = precision_recall_curve(scores, labels, points)
    assert len(recall) == len(precision) <= points
    assert (recall[-1], precision[-1]) == (1.0, labels.mean())
    assert precision[0] == labels[scores.argmax()]


def test_points_of_a_thinned_curve_lie_on_the_whole_one() -> None:
    scores, labels = uneven(5000)
    whole = set(zip(*roc_curve(scores, labels, 20_000), strict=True))
    thin = set(zip(*roc_curve(scores, labels, 100), strict=True))
    assert thin < whole
    assert area(*roc_curve(scores, labels)) == pytest.approx(auroc(scores, labels), abs=1e-3)


def test_the_pro_curve_up_to_the_limit_holds_the_area_of_au_pro() -> None:
    scores, labels = uneven(5000)
    region = np.where(labels, np.arange(5000) % 7, -1)
    x, y = pro_curve(scores, region, 20_000)
    before = x <= 0.3
    cut = np.interp(0.3, x, y)
    found = area(np.append(x[before], 0.3), np.append(y[before], cut)) / 0.3
    assert found == pytest.approx(au_pro(scores, region))


def test_too_few_points_to_draw_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        roc_curve(np.array([0.1, 0.2]), np.array([True, False]), points=7)


def test_without_one_class_there_is_nothing_to_draw() -> None:
    scores, labels = np.array([0.1, 0.2]), np.array([False, False])
    for curve in (roc_curve, precision_recall_curve):
        assert all(len(axis) == 0 for axis in curve(scores, labels))
    assert all(len(axis) == 0 for axis in pro_curve(scores, np.array([-1, -1])))
