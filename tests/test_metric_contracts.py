"""What every metric promises, over the dictionary of them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import slow_metrics
from zeroflaw.metrics import METRICS
from zeroflaw.reports.results import FIGURES
from zeroflaw.types import ZeroflawError

Scores = NDArray[Any]
Metric = Callable[[Scores, NDArray[np.int64]], float]


def on_regions(name: str, metric: Callable[..., float]) -> Metric:
    """The metric of one scan's scores and regions, whatever it asks for itself."""
    if name == "pro":
        return metric
    if name == "coverage_auc":
        return lambda scores, region: metric([scores], [region >= 0])
    return lambda scores, region: metric(scores, region >= 0)


FAST = {name: on_regions(name, metric) for name, metric in METRICS.items()}
SLOW = {
    "auroc": on_regions("auroc", slow_metrics.slow_auroc),
    "ap": on_regions("ap", slow_metrics.slow_average_precision),
    "f1": on_regions("f1", slow_metrics.slow_best_f1),
    "pro": on_regions("pro", slow_metrics.slow_au_pro),
    "coverage_auc": on_regions("coverage_auc", slow_metrics.slow_coverage_auc),
}
every_metric = pytest.mark.parametrize("name", METRICS)
# Few distinct values, among them zeros of both signs and the smallest numbers: ties everywhere.
VALUES = [-1.5, -1e-45, -0.0, 0.0, 1e-45, 3e-39, 0.25, 0.25 + 2**-24, 1.0, 3e38]
POINTS = st.lists(st.tuples(st.sampled_from(VALUES), st.integers(-4, 2)), min_size=0, max_size=60)


def arrays(
    points: list[tuple[float, int]], dtype: type[np.floating]
) -> tuple[Scores, NDArray[np.int64]]:
    scores = np.array([score for score, _ in points], dtype=dtype)
    return scores, np.array([max(number, -1) for _, number in points], dtype=np.int64)


def test_every_metric_has_a_slow_version_and_is_a_figure_of_a_result() -> None:
    assert set(SLOW) == set(METRICS)
    assert {figure.partition("point_")[2] for figure in FIGURES} - {""} == set(METRICS)


@every_metric
@given(POINTS, st.sampled_from([np.float32, np.float64]))
def test_it_is_what_its_definition_says(
    name: str, points: list[tuple[float, int]], dtype: type[np.floating]
) -> None:
    scores, region = arrays(points, dtype)
    assert FAST[name](scores, region) == pytest.approx(
        SLOW[name](scores, region), abs=1e-12, nan_ok=True
    )


@every_metric
@given(POINTS, st.randoms(use_true_random=False))
def test_the_order_of_points_changes_not_a_bit(
    name: str, points: list[tuple[float, int]], random: Random
) -> None:
    before = FAST[name](*arrays(points, np.float32))
    shuffled = list(points)
    random.shuffle(shuffled)
    after = FAST[name](*arrays(shuffled, np.float32))
    assert np.array_equal(before, after, equal_nan=True)


@every_metric
@given(POINTS)
def test_only_the_order_of_scores_matters(name: str, points: list[tuple[float, int]]) -> None:
    scores, region = arrays(points, np.float64)
    ranks = np.searchsorted(np.unique(scores), scores)
    for mapped in (ranks, 1e-300 * ranks, np.exp(ranks) - 5.0, ranks.astype(np.float16)):
        assert np.array_equal(
            FAST[name](mapped, region), FAST[name](scores, region), equal_nan=True
        )


@every_metric
@given(POINTS)
def test_it_is_a_share_or_undefined(name: str, points: list[tuple[float, int]]) -> None:
    scores, region = arrays(points, np.float32)
    value = FAST[name](scores, region)
    one_class = bool((region >= 0).all() or (region < 0).all())
    if name == "coverage_auc":
        one_class = not (region >= 0).any()
    assert isinstance(value, float)
    assert np.isnan(value) if one_class else -1e-15 <= value <= 1 + 1e-15


@every_metric
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_scores_without_an_order_are_refused(
    name: str, bad: float, dtype: type[np.floating]
) -> None:
    scores = np.array([0.1, bad, 0.3], dtype=dtype)
    for region in ([-1, 0, 1], [-1, -1, -1], [0, 0, 0]):
        with pytest.raises(ZeroflawError, match="NaN or infinite"):
            FAST[name](scores, np.array(region))


@every_metric
def test_what_does_not_match_is_refused(name: str) -> None:
    scores, region = np.array([0.1, 0.2]), np.array([-1, 0, 1])
    with pytest.raises(ZeroflawError, match=r"2 scores have .* of shape \(3,\)"):
        FAST[name](scores, region)
    with pytest.raises(ZeroflawError, match=r"scores have shape \(1, 2\)"):
        FAST[name](scores[None], region[:2])
    with pytest.raises(ZeroflawError, match="give real numbers"):
        FAST[name](scores.astype(np.complex128), region[:2])


@pytest.mark.parametrize("name", ["auroc", "ap", "f1"])
def test_labels_other_than_0_and_1_are_refused(name: str) -> None:
    with pytest.raises(ZeroflawError, match="other than 0 and 1"):
        METRICS[name](np.array([0.1, 0.2]), np.array([0, 2]))


@every_metric
def test_every_other_point_of_an_array_is_an_array_too(name: str) -> None:
    rng = np.random.default_rng(0)
    scores, region = rng.random(400).astype(">f4"), rng.integers(-3, 3, 400).clip(-1)
    expected = FAST[name](np.ascontiguousarray(scores[::2], "=f4"), region[::2].copy())
    assert FAST[name](scores[::2], region[::2]) == expected
