"""Normals of a gridded scan are those of its surface, in any order of the points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroflaw.geometry import cell_normals as module
from zeroflaw.geometry.cell_normals import cell_normals
from zeroflaw.geometry.descriptors import normals
from zeroflaw.geometry.thin import gridded
from zeroflaw.types import Float32, Float64


def sphere(count: int, seed: int = 0) -> Float64:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    unit: Float64 = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit


def angles(one: Float32 | Float64, other: Float32 | Float64) -> Float64:
    """Between lines, in degrees, (N,)."""
    cosine = np.abs(np.einsum("ij,ij->i", one.astype(np.float64), other))
    found: Float64 = np.degrees(np.arccos(np.minimum(cosine, 1)))
    return found


@pytest.mark.parametrize("cells", [500, 4_000])
def test_a_spheres_normals_point_away_from_its_middle(cells: int) -> None:
    grid = gridded(sphere(20_000), cells)
    found = angles(cell_normals(grid), grid.mean)
    assert float(np.median(found)) < 100 / cells**0.5
    assert float(found.max()) < 500 / cells**0.5


def test_the_cells_average_noise_as_well_as_as_many_neighbours() -> None:
    points = sphere(20_000)
    noisy = points + np.random.default_rng(1).normal(scale=0.005, size=points.shape)
    grid = gridded(noisy, 10_000)
    found = angles(cell_normals(grid)[grid.cell], points)
    assert float(np.median(found)) < float(np.median(angles(normals(noisy), points)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2_000), st.integers(1, 400), st.booleans())
def test_the_order_of_the_points_changes_no_bit(
    seed: int, count: int, cells: int, flat: bool
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3)) * [1, 1, 0 if flat else 1]
    order = rng.permutation(count)
    one, other = gridded(points, cells), gridded(points[order], cells)
    np.testing.assert_array_equal(
        cell_normals(one)[one.cell][order], cell_normals(other)[other.cell]
    )
    np.testing.assert_allclose(np.linalg.norm(cell_normals(one), axis=1), 1, atol=1e-6)


def test_cells_far_from_others_take_the_nearest_there_are() -> None:
    plate = np.random.default_rng(0).uniform(-1, 1, (3_000, 3)) * [1, 1, 0]
    apart = np.random.default_rng(1).uniform(-1, 1, (60, 3)) * [1, 0, 1] * 5 + [0, 40, 0]
    points = np.concatenate([plate, apart])
    grid = gridded(points, 1_500)
    facing = cell_normals(grid)[grid.cell]
    assert float(angles(facing[:3_000], np.tile([0.0, 0, 1], (3_000, 1))).max()) < 1e-3
    assert float(angles(facing[3_000:], np.tile([0.0, 1, 0], (60, 1))).max()) < 1e-3


def test_a_grid_too_wide_for_a_table_gives_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = gridded(sphere(20_000), 4_000)
    known = cell_normals(grid)
    monkeypatch.setattr(module, "TABLE_CELLS", 1)
    assert float(np.median(angles(cell_normals(grid), known))) < 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_points_without_a_surface_face_up(count: int) -> None:
    points = np.eye(3)[:count] * [1, 0, 0]
    np.testing.assert_array_equal(cell_normals(gridded(points, 3))[0], [0, 0, 1])


@pytest.mark.parametrize("thickness", [0.01, 0.03, 0.06])
def test_both_sides_of_a_thin_wall_keep_their_own_normals(thickness: float) -> None:
    """They lie one to six cells apart, so that cells of both are around many."""
    unit = sphere(60_000)
    wall = unit.copy()
    wall[::2] *= 1 + thickness
    grid = gridded(wall, 30_000)
    found = angles(cell_normals(grid)[grid.cell], unit)
    assert float(np.median(found)) < 5
    assert float((found > 30).mean()) < 0.05
