"""The boundary of a scan is where its surface ends, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import sphere_points
from zeroflaw.geometry.rim import boundary, near_boundary
from zeroflaw.types import Float64


def square(count: int, seed: int = 0) -> Float64:
    """Points scattered on the unit square."""
    points = np.random.default_rng(seed).random((count, 3))
    points[:, 2] = 0
    return points


def inward(points: Float64) -> Float64:
    """How far points of the unit square are from its outline."""
    return np.asarray(np.minimum(points[:, :2], 1 - points[:, :2]).min(axis=1))


def test_a_closed_surface_has_no_boundary() -> None:
    assert not boundary(sphere_points(20_000)).any()


def test_the_boundary_of_a_square_lies_along_its_outline_and_covers_it() -> None:
    points = square(10_000)
    on = boundary(points)
    assert inward(points)[on].max() < 0.02
    angle = np.arctan2(*(points[on, :2] - 0.5).T)
    assert np.diff(np.sort(angle)).max() < 0.2


def test_a_hole_has_a_boundary() -> None:
    points = square(10_000)
    radius = np.hypot(*(points[:, :2] - 0.5).T)
    points = points[radius > 0.2]
    inner = np.hypot(*(points[boundary(points), :2] - 0.5).T) < 0.24
    assert inner.sum() > 20


def test_a_crease_is_no_boundary() -> None:
    flat = square(20_000)
    folded = np.where(flat[:, :1] > 0.5, np.c_[np.full(20_000, 0.5), flat[:, 1], flat[:, 0]], flat)
    folded[flat[:, 0] > 0.5, 2] -= 0.5
    middle = (np.abs(flat[:, 0] - 0.5) < 0.05) & (inward(flat) > 0.05)
    assert middle.sum() > 1000
    assert boundary(folded)[middle].mean() < 0.01


def test_points_near_the_boundary_are_those_within_a_share_of_the_diagonal() -> None:
    points = square(10_000)
    near, depth = near_boundary(points, 0.03), inward(points) / np.sqrt(2)
    assert near[depth < 0.025].mean() > 0.98
    assert not near[depth > 0.045].any()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 100), st.floats(0.01, 1000.0))
def test_place_size_and_order_change_nothing(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    points = square(1500, seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = rng.permutation(len(points))
    moved = scale * (points @ turn.T + rng.normal(size=3))
    same = boundary(moved[order]) == boundary(points)[order]
    assert same.mean() > 0.999


@pytest.mark.parametrize("count", [1, 5, 32])
def test_a_handful_of_points_has_no_boundary(count: int) -> None:
    assert not near_boundary(square(count)).any()
