"""Smoothing of point scores: over the grid of organised scans, else over nearest neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import sphere_points
from zeroflaw.methods.smoothing import DENSE, smooth_grid, smooth_points
from zeroflaw.types import Scan

SIGMA = 4 / 336


def plane(side: int) -> Scan:
    """A square grid of points in a plane, (side², 3), organised."""
    column, row = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    points = np.stack([column, row, np.zeros_like(row)], axis=-1).reshape(-1, 3)
    return Scan(points, grid=(side, side))


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_smoothed_values_stay_between_the_least_and_the_highest(seed: int) -> None:
    scan = Scan(sphere_points(200, seed))
    values = torch.rand(200, generator=torch.Generator().manual_seed(seed))
    smoothed = smooth_points(values, scan, 0.05)
    assert values.min() - 1e-6 <= smoothed.min() <= smoothed.max() <= values.max() + 1e-6
    assert smoothed.std() < values.std()


def test_equal_values_stay_equal() -> None:
    for scan in (plane(20), Scan(sphere_points(300))):
        values = torch.full((len(scan),), 0.3)
        torch.testing.assert_close(smooth_points(values, scan, SIGMA), values)


@pytest.mark.parametrize("side", [60, 150, 400])
def test_the_graph_spreads_a_spot_as_far_as_the_grid_does(side: int) -> None:
    """Whatever the density of the points."""
    scan = plane(side)
    middle = (side // 2) * side + side // 2
    values = torch.zeros(len(scan))
    values[middle] = 1.0
    place = scan.points - scan.points[middle]
    sigma = 0.02
    spread = []
    for one, unit in ((scan, 1.0), (Scan(scan.points), 1 / np.sqrt(2))):
        # the grid's extent is its side, the cloud's the diagonal
        found = smooth_points(values, one, sigma * unit).double().numpy()
        spread.append(float((found @ place[:, 0] ** 2 / found.sum()) ** 0.5))
    assert spread[0] == pytest.approx(sigma, rel=0.1)
    assert spread[1] == pytest.approx(sigma, rel=0.3)


def test_a_dense_cloud_is_not_smoothed_further_than_asked() -> None:
    scan = Scan(plane(330).points)
    assert len(scan) > DENSE
    values = torch.zeros(len(scan))
    values[330 * 165 + 165] = 1.0
    apart = 1 / 329 / 2**0.5  # of neighbours, as a share of the scan's extent
    assert float(smooth_points(values, scan, apart / 4).max()) > 0.9


def test_neighbours_are_those_in_space_not_in_the_order_of_the_points() -> None:
    points = sphere_points(800)
    values = torch.from_numpy((points[:, 2] > 0.5).astype(np.float32))
    order = np.random.default_rng(1).permutation(800)
    straight = smooth_points(values, Scan(points), 0.03)
    mixed = smooth_points(values[order], Scan(points[order]), 0.03)
    torch.testing.assert_close(mixed, straight[order], atol=1e-6, rtol=1e-5)


def test_the_size_and_place_of_the_scan_do_not_matter() -> None:
    points = sphere_points(500)
    values = torch.rand(500, generator=torch.Generator().manual_seed(0))
    near = smooth_points(values, Scan(points), 0.03)
    far = smooth_points(values, Scan(points * 1000 + 12345.0), 0.03)
    torch.testing.assert_close(far, near, atol=1e-4, rtol=1e-4)


def test_empty_cells_of_a_grid_take_no_part() -> None:
    values = np.ones(3)
    cells = np.array([0, 1, 24])
    np.testing.assert_allclose(smooth_grid(values, cells, (5, 5), 2.0), 1.0)


def test_organised_scans_with_gaps_are_smoothed_cell_by_cell() -> None:
    whole = plane(12)
    valid = np.ones(144, dtype=bool)
    valid[50:70] = False
    scan = Scan(whole.points[valid], grid=(12, 12), valid=valid)
    values = torch.zeros(len(scan))
    values[0] = 1.0
    smoothed = smooth_points(values, scan, 0.1)
    assert smoothed.argmax() == 0
    assert smoothed[1] > smoothed[5] > smoothed[11]


def test_one_point_and_no_smoothing_change_nothing() -> None:
    one = torch.tensor([0.7])
    torch.testing.assert_close(smooth_points(one, Scan(np.zeros((1, 3))), SIGMA), one)
    values = torch.rand(30)
    torch.testing.assert_close(smooth_points(values, Scan(sphere_points(30)), 0.0), values)


def test_copies_of_one_point_are_no_reason_to_fail() -> None:
    points = np.repeat(sphere_points(4), 30, axis=0)
    values = torch.rand(120)
    assert torch.isfinite(smooth_points(values, Scan(points), SIGMA)).all()
