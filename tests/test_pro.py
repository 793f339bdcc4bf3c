"""AU-PRO and coverage, where their definitions leave room for mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slow_metrics import slow_au_pro
from zeroflaw.metrics.coverage import coverage_auc
from zeroflaw.metrics.pro import au_pro, by_score
from zeroflaw.metrics.ranking import auroc
from zeroflaw.types import ZeroflawError

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(-4, 3)), min_size=1, max_size=40)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(POINTS, st.floats(0.01, 1.0))
def test_any_limit_is_the_slow_curve_cut_there(points: list[tuple[int, int]], limit: float) -> None:
    scores = np.array([score for score, _ in points], dtype=np.float32)
    region = np.array([max(number, -1) for _, number in points])
    expected = slow_au_pro(scores, region, limit)
    assert au_pro(scores, region, limit) == pytest.approx(expected, nan_ok=True)


def test_a_small_defect_counts_as_much_as_a_large_one() -> None:
    scores = np.array([0.9] * 99 + [0.0] + [0.5] * 100)
    region = np.array([0] * 99 + [1] + [-1] * 100)
    assert au_pro(scores, region) == pytest.approx(0.5)


def test_only_the_curve_before_the_limit_counts() -> None:
    normal = np.arange(10) / 10
    scores = np.append(normal, 0.65)  # three of ten normal points score more
    region = np.array([-1] * 10 + [0])
    assert au_pro(scores, region) == pytest.approx(0.0, abs=1e-12)
    assert au_pro(scores, region, limit=0.4) == pytest.approx(0.25)
    assert au_pro(scores, region, limit=1.0) == pytest.approx(0.7)


def test_the_curve_is_straight_where_the_limit_cuts_tied_scores() -> None:
    scores, region = np.ones(20), np.array([-1] * 10 + [0] * 10)
    # From (0, 0) to (1, 1) in one step: the area up to 0.3 is 0.3² / 2.
    assert au_pro(scores, region) == pytest.approx(0.15)


@pytest.mark.parametrize("numbers", [(7, 100_000_000_000, 3), (2, 1, 0), (0, 5, 6)])
def test_how_regions_are_numbered_does_not_matter(numbers: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    scores, region = rng.random(300), rng.integers(-3, 3, 300).clip(-1)
    renamed = np.array([*numbers, -1])[region]
    assert au_pro(scores, renamed) == pytest.approx(au_pro(scores, region), abs=1e-15)


def test_unsigned_and_short_integers_number_regions_too() -> None:
    scores = np.array([0.1, 0.6, 0.5])
    region = np.array([-1, 0, 1])
    assert au_pro(scores, region.astype(np.int8)) == au_pro(scores, region) == 1.0
    assert np.isnan(au_pro(scores, np.array([1, 0, 1], dtype=np.uint8)))


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.1, np.nan])
def test_a_limit_that_is_no_rate_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
        au_pro(np.array([0.1, 0.2]), np.array([-1, 0]), limit)


@pytest.mark.parametrize("region", [np.array([-1.0, 0.0]), np.array([True, False])])
def test_regions_that_are_no_whole_numbers_are_refused(region: np.ndarray) -> None:
    with pytest.raises(ZeroflawError, match="whole numbers"):
        au_pro(np.array([0.1, 0.2]), region)


def test_coverage_is_half_the_anomalous_share_and_the_rest_times_auroc() -> None:
    rng = np.random.default_rng(2)
    scores, labels = rng.integers(0, 30, 200), rng.random(200) < 0.2
    share = labels.mean()
    expected = share / 2 + (1 - share) * auroc(scores, labels)
    assert coverage_auc([scores], [labels]) == pytest.approx(expected)


def test_coverage_leaves_good_scans_out_and_names_the_scan_that_does_not_fit() -> None:
    scan, labels = np.array([0.2, 0.9, 0.1]), np.array([False, True, False])
    alone = coverage_auc([scan], [labels])
    assert coverage_auc([scan, scan], [labels, ~labels & False]) == alone == pytest.approx(5 / 6)
    assert coverage_auc([scan], [np.ones(3, dtype=bool)]) == 0.5
    with pytest.raises(ZeroflawError, match=r"scan 1: .* shape \(2,\)"):
        coverage_auc([scan, scan], [labels, labels[:2]])
    with pytest.raises(ZeroflawError, match="2 scans have scores, 1 have labels"):
        coverage_auc([scan, scan], [labels])


@given(st.lists(st.tuples(FINITE, st.integers(0, 2**32 - 1)), min_size=1, max_size=40))
def test_single_precision_is_sorted_with_its_regions_bit_by_bit(
    points: list[tuple[float, int]],
) -> None:
    scores = np.array([score for score, _ in points], dtype=np.float32)
    member = np.array([number for _, number in points], dtype=np.int64)
    ordered, moved = by_score(scores, member)
    assert ordered.dtype == np.float32
    assert ordered.tolist() == sorted(scores.tolist())
    # Where scores tie, zeros of both signs included, regions are in order.
    pairs = sorted(zip((scores + np.float32(0)).tolist(), member.tolist(), strict=True))
    assert moved.tolist() == [number for _, number in pairs]
