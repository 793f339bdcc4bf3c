"""Values relative to a scan, and how similar its places are to each other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zeroflaw.geometry.context import patch_signature, robust_range, self_similarity


def test_outliers_do_not_move_the_robust_range() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, size=(4000, 1)).astype(np.float32)
    values[:40] = 1000
    median, deviation = robust_range(values)
    assert abs(median[0] - 5) < 0.2
    assert 1.5 < deviation[0] < 4


def test_a_constant_feature_has_a_range_that_can_be_divided_by() -> None:
    median, deviation = robust_range(np.full((50, 2), 3.0, dtype=np.float32))
    assert median.tolist() == [3.0, 3.0]
    assert (deviation > 0).all()


@given(arrays(np.float32, (20, 3), elements=st.floats(-5, 5, width=32)), st.permutations(range(5)))
def test_a_signature_does_not_know_the_order_of_its_points(
    features: np.ndarray, order: list[int]
) -> None:
    patches = np.arange(20).reshape(4, 5)
    straight = patch_signature(features, patches)
    np.testing.assert_allclose(
        patch_signature(features, patches[:, order]), straight, rtol=1e-4, atol=1e-4
    )


def test_the_odd_patch_out_is_the_least_similar() -> None:
    signature = np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)
    signature[17] += 20
    similarity = self_similarity(signature)
    assert similarity.shape == (60, 3)
    assert (similarity.argmax(axis=0) == 17).all()


def test_similarity_equals_the_slow_definition() -> None:
    signature = np.random.default_rng(2).normal(size=(40, 4)).astype(np.float32)
    slow = np.sort(np.linalg.norm(signature[:, None] - signature[None], axis=2), axis=1)[:, [6, 12]]
    typical = np.sort(slow, axis=0)[(len(slow) - 1) // 2]
    np.testing.assert_allclose(self_similarity(signature, (6, 12)), slow / typical, rtol=1e-3)


def test_a_scan_of_few_patches_still_has_similarities() -> None:
    assert np.isfinite(self_similarity(np.zeros((3, 4), dtype=np.float32))).all()
    assert self_similarity(np.zeros((1, 4), dtype=np.float32)).shape == (1, 3)
