"""Thinning keeps a scan's shape in fewer points, whatever the order they came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zeroflaw.geometry import thin as module
from zeroflaw.geometry.thin import thin


@st.composite
def clouds(draw: st.DrawFn) -> NDArray[Any]:
    """Volumes, surfaces, lines, lattices and copies, near the origin and far from it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    points = rng.normal(size=(draw(st.integers(1, 3000)), 3))
    kind = draw(st.sampled_from(["volume", "surface", "line", "lattice", "copies", "outlier"]))
    if kind == "surface":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    elif kind == "line":
        points *= [1, 0, 0]
    elif kind == "lattice":
        points = np.round(points * 4)
    elif kind == "copies":
        points = points[rng.integers(0, max(1, len(points) // 9), size=len(points))]
    elif kind == "outlier":
        points[0] = 5000
    shifted: NDArray[Any] = points + draw(st.sampled_from([0.0, 3e6]))
    return shifted


@settings(max_examples=120, deadline=None)
@given(clouds(), st.integers(1, 1500), st.integers(0, 2**32 - 1), st.booleans())
def test_the_order_of_the_points_does_not_matter(
    points: NDArray[Any], count: int, seed: int, table: bool
) -> None:
    shuffled = points[np.random.default_rng(seed).permutation(len(points))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TABLE_CELLS", module.TABLE_CELLS if table else 0)
        one, other = thin(points, count), thin(shuffled, count)
    np.testing.assert_array_equal(points[one.index], shuffled[other.index])
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.count, other.count)


@settings(max_examples=100, deadline=None)
@given(clouds(), st.integers(1, 1500))
def test_cells_share_out_all_points_and_are_never_too_many(
    points: NDArray[Any], count: int
) -> None:
    thinned = thin(points, count)
    assert 1 <= len(thinned) <= count
    assert thinned.count.sum() == len(points)
    assert len(set(thinned.index.tolist())) == len(thinned)
    total = (thinned.mean * thinned.count[:, None]).sum(axis=0)
    np.testing.assert_allclose(total / len(points), points.mean(axis=0), rtol=1e-9, atol=1e-9)
    alone = thinned.count == 1
    np.testing.assert_allclose(
        thinned.mean[alone], points[thinned.index[alone]], rtol=1e-12, atol=1e-9
    )


@pytest.mark.parametrize("count", [1, 2, 30, 1000, 9_000])
def test_a_scan_gets_nearly_as_many_points_as_asked_for(count: int) -> None:
    points = np.random.default_rng(0).normal(size=(10_000, 3))
    points *= [30, 20, 1] / np.linalg.norm(points, axis=1, keepdims=True)
    assert 0.7 * count <= len(thin(points, count)) <= count


def test_the_representative_is_the_cells_point_nearest_to_its_mean() -> None:
    points = np.random.default_rng(1).random((4000, 3)) * [9, 9, 0.1]
    thinned = thin(points, 200)
    chosen = points[thinned.index]
    distance = np.linalg.norm(chosen - thinned.mean, axis=1)
    nearest, _ = cKDTree(points).query(thinned.mean)
    assert np.mean(distance == pytest.approx(nearest)) > 0.95  # a neighbouring cell's may be nearer


def test_what_is_left_covers_the_scan_evenly() -> None:
    points = np.random.default_rng(2).normal(size=(50_000, 3)) ** 3  # very uneven density
    thinned = thin(points, 2000)
    assert cKDTree(points[thinned.index]).query(points)[0].max() < 0.15 * np.ptp(points)
    apart = cKDTree(thinned.mean).query(thinned.mean, 2)[0][:, 1]
    assert np.median(apart) > 0.3 * cKDTree(points[thinned.index]).query(points)[0].max()


def test_a_small_scan_is_kept_whole_in_order_of_its_coordinates() -> None:
    points = np.array([[2.0, 0, 0], [1, 5, 0], [1, 4, 9], [2, 0, 0]])
    thinned = thin(points, 4)
    assert thinned.index.tolist() == [2, 1, 0, 3]
    assert thinned.count.tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(thinned.mean, points[thinned.index])


def test_ties_go_to_the_lowest_coordinates() -> None:
    points = np.array([[1.0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert thin(points, 1).index.tolist() == [3]
    assert thin(points[::-1], 1).index.tolist() == [0]


def test_equal_points_become_one() -> None:
    thinned = thin(np.full((100, 3), 4e6), 10)
    assert (len(thinned), thinned.count.tolist()) == (1, [100])
    assert thinned.mean.tolist() == [[4e6, 4e6, 4e6]]


def test_a_request_that_makes_no_sense_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot thin to 0 points"):
        thin(np.ones((5, 3)), 0)
    with pytest.raises(ValueError, match=r"expected \(N, 3\)"):
        thin(np.ones(5), 2)
