"""Scores become probabilities, in the same order, and how far they were from it is measured."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from zeroflaw.metrics.calibration import (
    BINS,
    HARDEST,
    SOFTEST,
    Scaling,
    fit_scaling,
    logit,
    reliability,
)
from zeroflaw.metrics.ranking import auroc
from zeroflaw.types import ZeroflawError

SCORES = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.2, 1 / 3, 0.6, 14 / 15, 1.0])),
        st.booleans(),
    ),
    min_size=1,
    max_size=80,
)
SCALINGS = st.builds(Scaling, st.floats(0.05, 20), st.floats(-10, 10))


def slow_error(pairs: list[tuple[float, bool]], bins: int) -> float:
    """The definition in words: bin by bin, the share of items times what they are off by."""
    total = 0.0
    for number in range(bins):
        held = [pair for pair in pairs if min(int(pair[0] * bins), bins - 1) == number]
        if held:
            score = sum(pair[0] for pair in held) / len(held)
            share = sum(pair[1] for pair in held) / len(held)
            total += len(held) / len(pairs) * abs(score - share)
    return total


def error(scores: ArrayLike, labels: ArrayLike, bins: int = BINS, mass: bool = False) -> float:
    return reliability(scores, labels, bins, equal_mass=mass).error()


def drawn(
    count: int, temperature: float, bias: float, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores whose logits are too sure by `temperature` and off by `bias`, and their labels."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 1.5, count)
    return expit((truth - bias) * temperature), rng.random(count) < expit(truth)


@given(SCORES, st.integers(1, 20))
def test_the_error_is_the_one_that_its_definition_gives(
    pairs: list[tuple[float, bool]], bins: int
) -> None:
    scores, labels = zip(*pairs, strict=True)
    assert error(scores, labels, bins) == pytest.approx(slow_error(pairs, bins))


@given(SCORES, st.integers(1, 20))
def test_bins_of_equal_mass_hold_as_many_items_and_never_part_equal_scores(
    pairs: list[tuple[float, bool]], bins: int
) -> None:
    scores, labels = (np.array(part) for part in zip(*pairs, strict=True))
    found = reliability(scores, labels, bins, equal_mass=True)
    assert found.count.sum() == len(pairs)
    assert len(found.count) <= bins
    assert all(high < low for high, low in pairwise_edges(found.high, found.low))
    if len(set(scores.tolist())) == len(scores):
        assert found.count.max() - found.count.min() <= 1


def pairwise_edges(
    high: NDArray[np.float64], low: NDArray[np.float64]
) -> list[tuple[float, float]]:
    return [(before[0], after[1]) for before, after in pairwise(zip(high, low, strict=True))]


def test_scores_that_are_probabilities_have_hardly_an_error_and_others_have() -> None:
    scores, labels = drawn(40_000, 1.0, 0.0)
    for equal_mass in (False, True):
        assert error(scores, labels, mass=equal_mass) < 0.015
        assert error(scores**3, labels, mass=equal_mass) > 0.1


@pytest.mark.parametrize(("temperature", "bias"), [(3.0, 0.0), (0.4, 1.0), (2.0, -2.5)])
def test_what_was_done_to_the_logits_is_found_and_undone(temperature: float, bias: float) -> None:
    scores, labels = drawn(30_000, temperature, bias)
    scaling = fit_scaling(scores, labels)
    assert scaling.temperature == pytest.approx(temperature, rel=0.06)
    assert scaling.bias == pytest.approx(bias, abs=0.06)
    fresh, theirs = drawn(30_000, temperature, bias, seed=1)
    before, after = (error(one, theirs) for one in (fresh, scaling.apply(fresh)))
    assert after < 0.015 < before


def test_the_bias_is_left_out_where_it_does_not_help() -> None:
    scores, labels = drawn(200, 3.0, 0.0)
    assert fit_scaling(scores, labels).bias == 0.0
    shifted, theirs = drawn(200, 3.0, 2.0)
    assert fit_scaling(shifted, theirs).bias > 1
    assert fit_scaling(shifted, theirs, independent=3).bias == 0.0


def smoothed_loss(
    scaling: Scaling, scores: NDArray[np.float64], labels: NDArray[np.bool_]
) -> float:
    """Platt's: the cross-entropy with (n + 1) / (n + 2) for n defective ones, 1 / (m + 2) else."""
    positive, negative = labels.sum(), (~labels).sum()
    target = np.where(labels, (positive + 1) / (positive + 2), 1 / (negative + 2))
    scaled = logit(scores) / scaling.temperature + scaling.bias
    surprise = target * np.logaddexp(0, -scaled) + (1 - target) * np.logaddexp(0, scaled)
    return float(surprise.mean())


@given(SCORES.filter(lambda pairs: len({label for _, label in pairs}) == 2))
def test_no_other_scaling_makes_the_labels_likelier(pairs: list[tuple[float, bool]]) -> None:
    scores, labels = (np.array(part) for part in zip(*pairs, strict=True))
    scaling = fit_scaling(scores, labels, independent=10**9)
    assert HARDEST * 0.999 <= scaling.temperature <= SOFTEST * 1.001
    best = smoothed_loss(scaling, scores, labels)
    for slope in (0.5, 0.9, 1.0, 1.1, 2.0):
        for step in (-1.0, -0.1, 0.0, 0.1, 1.0):
            temperature = float(np.clip(scaling.temperature / slope, HARDEST, SOFTEST))
            other = Scaling(temperature, scaling.bias + step)
            assert best <= smoothed_loss(other, scores, labels) + 1e-6


@given(SCORES, SCALINGS)
def test_the_order_of_scores_stays(pairs: list[tuple[float, bool]], scaling: Scaling) -> None:
    scores = np.sort(np.array([score for score, _ in pairs]))
    scaled = scaling.apply(scores)
    assert np.all(np.diff(scaled) >= 0)
    assert scaled.min() >= 0
    assert scaled.max() <= 1


@given(st.builds(Scaling, st.floats(0.4, 20), st.floats(-5, 5)))
def test_the_area_under_the_roc_does_not_change(scaling: Scaling) -> None:
    scores, labels = drawn(500, 1.0, 0.0)
    assert auroc(scaling.apply(scores), labels) == auroc(scores, labels)


def test_scores_of_0_and_1_have_logits_and_stay_the_outermost() -> None:
    assert np.isfinite(logit([0.0, 1.0])).all()
    low, inner, upper, high = Scaling(2.0, 1.0).apply(np.array([0, 1e-9, 1 - 1e-7, 1], "f4"))
    assert low < inner < upper < high


@pytest.mark.parametrize(
    ("scores", "labels", "said"),
    [
        ([], [], "at least one"),
        ([0.5, 1.5], [0, 1], "from 0 to 1"),
        ([0.5, np.nan], [0, 1], "NaN"),
        ([0.5], [0, 1], "one for each"),
        ([0.5, 0.6], [1, 1], "both good and defective"),
    ],
)
def test_what_cannot_be_calibrated_is_told(scores: Any, labels: Any, said: str) -> None:
    with pytest.raises(ZeroflawError, match=said):
        fit_scaling(scores, labels)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        3,
        {},
        {"temperature": 0, "bias": 0},
        {"temperature": True, "bias": 0},
        {"temperature": 1},
        {"temperature": 1.0, "bias": "0"},
        {"temperature": float("inf"), "bias": 0},
    ],
)
def test_what_is_no_scaling_is_refused(entry: Any) -> None:
    with pytest.raises(ZeroflawError, match="no calibration"):
        Scaling.read(entry)
