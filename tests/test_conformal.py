"""A threshold from good items keeps its false alarms to what was promised."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from zeroflaw.conformal import (
    conformal_rank,
    conformal_threshold,
    likely_rate,
    scans_needed,
)
from zeroflaw.types import ZeroflawError

DRAWS = 20_000
RATES = st.sampled_from([0.01, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.9])
TIED = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.500001, 1.0]), min_size=2, max_size=130)


@given(TIED, RATES)
def test_of_any_scores_few_enough_exceed_the_threshold_of_the_others(
    values: list[float], rate: float
) -> None:
    """The promise itself: among exchangeable items each one is as likely the further one."""
    count = len(values) - 1
    if count < scans_needed(rate):
        return
    exceeding = sum(
        values[left] > conformal_threshold(values[:left] + values[left + 1 :], rate)
        for left in range(len(values))
    )
    assert Fraction(exceeding, len(values)) <= Fraction(repr(rate))


def plain(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.normal(size=count)


def in_steps(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return np.round(rng.beta(2, 5, size=count), 1)


def alike_in_their_batch(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.normal() * 5 + rng.standard_t(2, size=count) * rng.gamma(1.0)


@pytest.mark.parametrize("draw", [plain, in_steps, alike_in_their_batch])
@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (23, 0.1), (40, 0.07)])
def test_over_many_draws_false_alarms_keep_to_the_rate(
    draw: Callable[[np.random.Generator, int], NDArray[np.float64]], count: int, rate: float
) -> None:
    rng = np.random.default_rng([count, 7])
    alarms = 0
    for _ in range(DRAWS):
        scores = draw(rng, count + 1)
        alarms += scores[-1] > conformal_threshold(scores[:-1], rate)
    tolerance = 4 * math.sqrt(rate * (1 - rate) / DRAWS)
    assert alarms / DRAWS <= rate + tolerance
    if draw is not in_steps:  # without ties it is as close to the rate as it can be
        exact = math.floor((count + 1) * Fraction(repr(rate))) / (count + 1)
        assert abs(alarms / DRAWS - exact) <= tolerance


@pytest.mark.parametrize(
    ("rate", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.07, 14), (0.3, 3), (0.5, 1), (0.9, 1)]
)
def test_too_few_scans_are_refused_and_the_number_needed_told(rate: float, needed: int) -> None:
    assert scans_needed(rate) == needed
    assert conformal_rank(needed, rate) <= needed
    with pytest.raises(ZeroflawError, match=f"at least {needed}") as refused:
        conformal_rank(needed - 1, rate)
    if needed > 1:
        allowed = float(str(refused.value).rpartition(" ")[2])
        assert rate < allowed < 1
        conformal_rank(needed - 1, allowed)


def test_a_rate_that_no_number_of_scans_keeps_fills_no_screen() -> None:
    with pytest.raises(ZeroflawError, match="1 good scan is too few") as refused:
        conformal_rank(1, 1e-300)
    assert "more than 1000000000" in str(refused.value)
    assert len(str(refused.value)) < 150


@given(st.integers(1, 400), st.integers(1, 999))
def test_the_rank_has_no_rounding_errors(count: int, thousandths: int) -> None:
    exact = math.ceil((count + 1) * (1 - Fraction(thousandths, 1000)))
    if exact > count:
        with pytest.raises(ZeroflawError, match="too few"):
            conformal_rank(count, thousandths / 1000)
    else:
        assert conformal_rank(count, thousandths / 1000) == exact


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ZeroflawError, match="not between 0 and 1"):
        conformal_rank(100, rate)


def test_what_one_set_of_scans_keeps_is_told_with_its_confidence() -> None:
    rng = np.random.default_rng(3)
    count, rate = 39, 0.05
    rates = [1 - conformal_threshold(rng.random(count), rate) for _ in range(4000)]
    assert np.mean(np.array(rates) <= likely_rate(count, rate)) == pytest.approx(0.9, abs=0.02)
    assert rate < likely_rate(count, rate) < 3 * rate
