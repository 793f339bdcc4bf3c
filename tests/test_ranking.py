"""The area under the ROC curve, average precision and the highest F1, one sort for all."""

from __future__ import annotations

import numpy as np
import pytest

from zeroflaw.metrics.ranking import auroc, average_precision, best_f1, ranking


def test_all_three_at_once_are_each_one_by_itself() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 40, 500) / 8, rng.random(500) < 0.3
    found = ranking(scores, labels)
    assert found.auroc == auroc(scores, labels)
    assert found.average_precision == average_precision(scores, labels)
    assert found.best_f1 == best_f1(scores, labels)


def test_a_small_example_by_hand() -> None:
    found = ranking([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    assert found == pytest.approx((0.75, (1 + 2 / 3) / 2, 0.8))


def test_perfect_scores_are_one_and_equal_scores_tell_nothing() -> None:
    labels = np.arange(10) >= 7
    assert ranking(np.arange(10), labels) == (1.0, 1.0, 1.0)
    assert ranking(np.zeros(10), labels) == pytest.approx((0.5, 0.3, 6 / 13))
    assert auroc(-np.arange(10), labels) == 0.0


def test_zero_and_minus_zero_are_one_score() -> None:
    labels = np.array([True, False, True, False])
    for dtype in (np.float32, np.float64):
        assert auroc(np.array([0.0, -0.0, -0.0, 0.0], dtype=dtype), labels) == 0.5


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_smallest_steps_between_numbers_count(dtype: type[np.floating]) -> None:
    smallest = np.finfo(dtype).smallest_subnormal
    labels = np.array([False, True, False, True])
    tiny = np.array([0, 1, 2, 3]) * smallest
    assert auroc(tiny.astype(dtype), labels) == 0.75
    beside = np.nextafter(dtype(0.5), dtype(1))
    assert auroc(np.array([0.5, beside, 0.5, beside], dtype=dtype), labels) == 1.0


def test_scores_that_only_double_precision_tells_apart_are_not_rounded() -> None:
    labels = np.array([False, True])
    scores = np.array([0.5, 0.5 + 1e-12])
    assert auroc(scores, labels) == 1.0
    assert auroc(scores.astype(np.float32), labels) == 0.5


def test_labels_may_be_numbers_but_no_others_than_0_and_1() -> None:
    scores = np.array([0.1, 0.7, 0.3])
    assert auroc(scores, np.array([0.0, 1.0, 0.0])) == auroc(scores, [0, 1, 0]) == 1.0


def test_it_does_not_touch_what_it_is_given() -> None:
    scores, labels = np.array([3.0, 1.0, 2.0]), np.array([True, False, True])
    scores.setflags(write=False)
    labels.setflags(write=False)
    assert ranking(scores, labels).auroc == 1.0
    assert scores.tolist() == [3.0, 1.0, 2.0]
