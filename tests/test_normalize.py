"""Normalised points fill the unit sphere and find their way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroflaw.geometry.normalize import normalize
from zeroflaw.types import ScanError


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-6, 1.0, 250.0, 1e5]),
    st.sampled_from([0.0, 1.0, 5e6]),
)
def test_the_mean_is_the_origin_and_the_farthest_point_lies_on_the_sphere(
    seed: int, size: float, offset: float
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(rng.integers(2, 300), 3)) * size + offset * rng.normal(size=3)
    unit, frame = normalize(points)
    assert unit.dtype == np.float32
    # float64 itself keeps only so much of a small scan far from the origin
    slack = 1e-6 + 1e-15 * abs(points).max() / size
    assert np.linalg.norm(unit, axis=1).max() == pytest.approx(1, abs=slack)
    np.testing.assert_allclose(unit.astype(np.float64).mean(axis=0), 0, atol=slack)
    np.testing.assert_allclose(frame.restore(unit), points, rtol=1e-14, atol=2e-7 * frame.scale)


def test_the_frame_carries_other_points_there_and_back() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(100, 3)) + np.array([4e5, 5e6, 30])
    unit, frame = normalize(points)
    np.testing.assert_allclose(frame.apply(points), unit, atol=1e-6)
    other = points[0] + [0.25, -0.5, 1]
    np.testing.assert_allclose(frame.restore(frame.apply(other)), other, atol=1e-6)


def test_moving_a_scan_by_millions_does_not_change_its_unit_sphere() -> None:
    points = np.random.default_rng(1).integers(0, 1024, size=(200, 3)) / 1024
    here, _ = normalize(points)
    there, _ = normalize(points + np.array([2**22, -(2**23), 2**20]))
    np.testing.assert_array_equal(here, there)


def test_a_scan_without_extent_or_points_is_a_scan_error() -> None:
    with pytest.raises(ScanError, match="all points are equal"):
        normalize(np.full((5, 3), 7.0))
    with pytest.raises(ScanError, match="no points"):
        normalize(np.empty((0, 3)))
    with pytest.raises(ScanError, match="not finite"):
        normalize(np.array([[0.0, 0, np.nan], [1, 1, 1]]))


def test_an_array_of_the_wrong_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 3\)"):
        normalize(np.ones((4, 2)))
