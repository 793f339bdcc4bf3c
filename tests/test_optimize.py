"""The optimiser's groups and rates, and the figures on held-out items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiny_method import tiny_items, tiny_method
from zeroflaw.optimize import build_optimizer, learning_rate
from zeroflaw.thresholds import best_threshold
from zeroflaw.validate import HeldOut


def test_decay_falls_on_matrices_only_and_prompts_have_their_own_rate() -> None:
    method = tiny_method()
    optimizer = build_optimizer(method, 5e-4, 1e-3, 1e-4)
    settings = {
        id(weight): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    assert settings.pop(id(method.prompt)) == (1e-3, 0.0)
    for name, weight in method.head.named_parameters():
        assert settings.pop(id(weight)) == (5e-4, 1e-4 if weight.ndim > 1 else 0.0), name
    assert not settings


def test_the_rate_warms_up_over_a_tenth_and_falls_to_almost_nothing() -> None:
    rates = [learning_rate(step, 200, 5e-4) for step in range(200)]
    assert rates[0] == pytest.approx(5e-5)
    assert rates[20] == pytest.approx(5e-4)
    assert rates[-1] == pytest.approx(1e-6)
    assert np.all(np.diff(rates[:21]) > 0)
    assert np.all(np.diff(rates[20:]) < 0)


@given(st.integers(1, 500), st.floats(1e-8, 1))
def test_the_rate_is_never_above_the_full_one_nor_negative(total: int, full: float) -> None:
    for step in range(total + 2):
        assert 0 < learning_rate(step, total, full) <= full * (1 + 1e-12)


def test_held_out_figures_do_not_depend_on_the_batch_and_change_nothing() -> None:
    method = tiny_method()
    method.eval()
    items = tiny_items(method)
    before = {name: entry.clone() for name, entry in method.state_dict().items()}
    one, two = HeldOut(items, 1)(method), HeldOut(items, 2)(method)
    assert set(one) == {"loss", "point_auroc", "object_auroc"}
    assert one["point_auroc"] == pytest.approx(two["point_auroc"])
    assert all(torch.equal(entry, before[name]) for name, entry in method.state_dict().items())


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=30))
def test_the_best_threshold_has_the_best_f1_of_all(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score / 8 for score, _ in pairs])
    labels = np.array([label for _, label in pairs])
    found = best_threshold(scores, labels)
    if labels.all() or not labels.any():
        assert found is None
        return

    def f1(threshold: float) -> float:
        called = scores >= threshold
        return 2 * float((called & labels).sum()) / float(called.sum() + labels.sum())

    assert found is not None
    assert f1(found) == pytest.approx(max(f1(score) for score in scores))


def test_the_threshold_lies_between_good_and_bad() -> None:
    scores = np.array([0.1, 0.2, 0.6, 0.9])
    assert best_threshold(scores, np.array([False, False, True, True])) == pytest.approx(0.4)
    close = np.array([0.5, np.nextafter(0.5, 1)])
    assert best_threshold(close, np.array([False, True])) == close[1]
