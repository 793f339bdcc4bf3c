"""Eigenvectors, normals, spacing, FPFH and the dense local descriptors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from zeroflaw.geometry.descriptors import normals, principal_normals, spacing
from zeroflaw.geometry.eigen import smallest_eigenvectors, symmetric_eigenvalues
from zeroflaw.geometry.fpfh import fpfh
from zeroflaw.geometry.moments import DESCRIPTOR_NAMES, descriptor_names, local_descriptors
from zeroflaw.geometry.orient import orientation
from zeroflaw.types import ScanError

Points = NDArray[np.float64]
TURN = Rotation.from_euler("xyz", (0.3, 1.1, -2.0)).as_matrix()


def sphere_points(count: int, seed: int = 0) -> Points:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def plane_points(count: int, seed: int = 0) -> Points:
    flat = np.random.default_rng(seed).uniform(-1, 1, size=(count, 3))
    flat[:, 2] = 0.0
    return flat


def column(features: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    return features[:, DESCRIPTOR_NAMES.index(name)]


def bumpy(count: int, seed: int = 0) -> Points:
    points = sphere_points(count, seed) * (1.0, 0.7, 0.4)
    return points + np.random.default_rng(seed).normal(scale=0.002, size=points.shape)


def full(packed: Points) -> Points:
    """Symmetric matrices (N, 3, 3) of packed ones (6, N)."""
    return np.moveaxis(packed[[0, 1, 2, 1, 3, 4, 2, 4, 5]], 0, -1).reshape(-1, 3, 3)


@given(arrays(np.float64, (6, 8), elements=st.integers(-(10**9), 10**9).map(lambda v: v * 1e-8)))
def test_eigenvalues_equal_numpys(packed: Points) -> None:
    expected = np.linalg.eigvalsh(full(packed)).T
    scale = np.abs(packed).max() + 1e-300
    assert np.abs(symmetric_eigenvalues(packed) - expected).max() <= 1e-7 * scale


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.floats(1e-6, 1e6), st.floats(0.0, 0.5), st.floats(0.5, 1.0))
def test_smallest_eigenvector_is_exact_where_it_stands_apart(
    seed: int, scale: float, smallest: float, middle: float
) -> None:
    turn = Rotation.random(random_state=seed).as_matrix()
    smallest *= 0.9 * middle
    matrix = turn @ np.diag([smallest, middle, 1.0]) @ turn.T * scale
    values, vector = smallest_eigenvectors(matrix[np.triu_indices(3)][:, None])
    assert abs(vector[:, 0] @ turn[:, 0]) > 1 - 1e-12
    assert values[0, 0] == pytest.approx(smallest * scale, abs=1e-13 * scale)


def test_equal_eigenvalues_and_zeros_still_give_a_unit_vector() -> None:
    packed = np.array([[0.0, 2.0], [0, 0], [0, 0], [0, 2.0], [0, 0], [0, 2.0]])
    assert np.allclose(np.linalg.norm(smallest_eigenvectors(packed)[1], axis=0), 1.0)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_normals_of_a_sphere_point_along_its_radii(offset: float) -> None:
    points = sphere_points(4000)
    found = normals(points + offset)
    assert found.dtype == np.float32
    assert np.abs(np.einsum("ij,ij->i", found, points)).min() > 0.99


def test_normals_see_only_what_is_in_the_radius() -> None:
    steps = np.arange(400.0)
    ledge = np.stack([steps % 20, steps // 20, np.where(steps // 20 >= 10, 5.0, 0.0)], axis=1)
    assert np.abs(normals(ledge, radius=3.0)[:, 2]).min() > 1 - 1e-6
    assert np.abs(normals(ledge, k=60)[:, 2]).min() < 0.99


def test_too_few_neighbours_give_the_z_axis() -> None:
    lonely = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]])
    assert (normals(lonely, radius=1.0) == (0, 0, 1)).all()
    assert normals(lonely[:2]).tolist() == [[0, 0, 1], [0, 0, 1]]
    with pytest.raises(ValueError, match="at least 3"):
        normals(lonely, k=2)


def test_spacing_is_the_grids() -> None:
    grid = np.stack(np.meshgrid(np.arange(30), np.arange(40)), axis=-1).reshape(-1, 2) * 0.25
    assert spacing(np.pad(grid, ((0, 0), (0, 1)))) == pytest.approx(0.25)
    with pytest.raises(ScanError, match="at least 2"):
        spacing(np.zeros((1, 3)))


def slow_fpfh(points: Points, directions: Points, radius: float, most: int) -> Points:
    """FPFH pair by pair, straight from the definition."""
    count = len(points)
    away = np.linalg.norm(points[:, None] - points[None], axis=2)
    near = [
        [j for j in np.argsort(row, kind="stable")[:most] if row[j] < radius][1:] for row in away
    ]
    simple = np.zeros((count, 33))
    for i in range(count):
        for j in near[i]:
            source, target = (i, j)
            line = (points[j] - points[i]) / away[i, j]
            if abs(directions[i] @ line) < abs(directions[j] @ line):
                source, target, line = j, i, -line
            u, n = directions[source], directions[target]
            v = np.cross(line, u)
            v /= np.linalg.norm(v)
            theta = np.arctan2(np.cross(u, v) @ n, u @ n)
            shares = ((theta + np.pi) / (2 * np.pi), (v @ n + 1) / 2, (u @ line + 1) / 2)
            for third, share in enumerate(shares):
                simple[i, 11 * third + min(max(int(11 * share), 0), 10)] += 100 / len(near[i])
    result = simple.copy()
    for i in range(count):
        if near[i]:
            weights = 1 / away[i, near[i]] ** 2
            mixed = (weights[:, None] * simple[near[i]]).sum(axis=0).reshape(3, 11)
            result[i] += (100 * mixed / mixed.sum(axis=1, keepdims=True)).ravel()
    return result


@pytest.mark.parametrize(("radius", "most"), [(0.4, 100), (0.8, 12), (10.0, 100)])
def test_fpfh_equals_the_definition(radius: float, most: int) -> None:
    points = bumpy(150)
    directions = principal_normals(points, k=12)
    expected = slow_fpfh(points, directions, radius, most)
    assert np.allclose(fpfh(points, directions, radius, most), expected, atol=1e-3)


def test_fpfh_follows_its_points_through_turns_shifts_scales_and_shuffles() -> None:
    points, order = bumpy(3000), np.random.default_rng(3).permutation(3000)
    directions = points / np.linalg.norm(points, axis=1, keepdims=True)
    before = fpfh(points, directions, 0.15)[order]
    after = fpfh((points @ TURN.T * 7 + 3)[order], (directions @ TURN.T)[order], 0.15 * 7)
    # A value on the edge between two bins may fall to the other side.
    assert np.mean(np.abs(after - before).max(axis=1) < 1e-2) > 0.99


def test_thirds_of_fpfh_add_up_and_lonely_points_have_none() -> None:
    points = np.concatenate([sphere_points(500), [[50.0, 0, 0]], [[50.0, 0, 0]]])
    found = fpfh(points, normals(points), 0.4)
    assert np.allclose(found[:500].reshape(500, 3, 11).sum(axis=2), 200, atol=1e-3)
    alone = fpfh(points[:501], normals(points[:501]), 0.4)
    assert (alone[500] == 0).all()
    assert np.isfinite(found).all()
    assert fpfh(points[:1], normals(points[:1]), 1.0).shape == (1, 33)
    assert fpfh(points[:0], points[:0], 1.0).shape == (0, 33)


def test_fpfh_is_the_same_on_any_number_of_threads() -> None:
    points = bumpy(5000)
    directions = normals(points)
    one = fpfh(points, directions, 0.1, workers=1)
    assert (one == fpfh(points, directions, 0.1, workers=3)).all()


def test_orientation_agrees_over_a_closed_surface_whatever_the_signs_were() -> None:
    points = sphere_points(600) * (1.0, 0.6, 0.3)
    outward = points / (1.0, 0.36, 0.09)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], 600)
    assert (orientation(points, outward * signs[:, None]) == signs).all()


@pytest.mark.parametrize("scales", [(12, 32, 96, 256), (10,), (64, 128), (8, 20, 40)])
def test_descriptors_have_a_name_each_and_no_constant_column(scales: tuple[int, ...]) -> None:
    unit, features = local_descriptors(bumpy(3000), scales)
    assert features.shape == (3000, len(descriptor_names(scales)))
    assert features.dtype == unit.dtype == np.float32
    assert np.isfinite(features).all()
    assert (features.std(axis=0) > 0).all()
    assert np.allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_descriptors_follow_their_points_through_turns_shifts_scales_and_shuffles(
    seed: int, scale: float, shift: float
) -> None:
    points, order = bumpy(2000), np.random.default_rng(seed).permutation(2000)
    turn = Rotation.random(random_state=seed).as_matrix()
    unit, features = local_descriptors(points)
    moved_unit, moved = local_descriptors((points @ turn.T * scale + shift * scale)[order])
    assert np.abs(moved - features[order]).max() < 1e-3
    assert np.abs(moved_unit - (unit @ turn.T)[order]).max() < 1e-3


def test_a_plane_is_flat_at_every_scale() -> None:
    unit, features = local_descriptors(plane_points(4000) @ TURN.T)
    assert np.abs(np.abs(unit @ TURN[:, 2]) - 1).max() < 1e-5
    for scale in (12, 32, 96, 256):
        for name in ("roughness", "offset", "normal_spread", "bending"):
            assert np.abs(column(features, f"{name}_{scale}")).max() < 1e-3


def test_bending_of_a_sphere_is_its_radius_of_neighbourhood_over_its_radius() -> None:
    points = sphere_points(20_000)
    unit, features = local_descriptors(points)
    assert np.einsum("ij,ij->i", unit, points).min() > 0.99
    # Normals turn by the distance over the radius, in both directions: divergence r / R of a
    # disc of n points of area 4π / N each, whose mean squared radius is half its squared edge.
    expected = np.sqrt(0.5 * 256 * 4 / 20_000)
    assert np.median(column(features, "bending_256")) == pytest.approx(expected, rel=0.1)
    assert (column(features, "offset_256") > 0).all()


def test_dents_and_bumps_have_opposite_signs() -> None:
    top = (0.0, 0.0, 1.0)
    points = sphere_points(8000)
    distance = np.linalg.norm(points - top, axis=1)
    share = np.maximum(1 - (distance / 0.25) ** 2, 0.0) ** 2
    at = distance < 0.05
    for sign in (-1, 1):
        moved = points * (1 + sign * 0.08 * share[:, None])
        features = local_descriptors(moved)[1]
        for name in ("offset_256", "step_96_256"):
            usual = np.median(column(features, name))
            assert (sign * (column(features, name)[at] - usual) > 0.01).all()


def test_edges_and_borders_stand_out() -> None:
    x, y, _ = plane_points(6000).T
    roof = np.stack([x, y, -np.abs(x)], axis=1)
    features = local_descriptors(roof)[1]
    inner = np.abs(y) < 0.7
    ridge, slope = inner & (np.abs(x) < 0.02), inner & (np.abs(x) > 0.4) & (np.abs(x) < 0.6)
    border = np.abs(y) > 0.99
    rough, aside = column(features, "roughness_32"), column(features, "tangential_offset_32")
    assert np.median(rough[ridge]) > 0.1 > 1e-3 > np.median(rough[slope])
    assert np.median(aside[border]) > 3 * np.median(aside[slope])
    spread = column(features, "normal_spread_96")
    assert np.median(spread[ridge]) > 0.3 > 0.05 > np.median(spread[slope])


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((40, 3)),
        np.linspace((0, 0, 0), (1, 2, 3), 300),
        np.repeat(sphere_points(20), 5, axis=0),
        sphere_points(4),
        np.stack(np.meshgrid(*[np.arange(20.0)] * 3), axis=-1).reshape(-1, 3),
    ],
    ids=["one place", "a line", "repeated points", "four points", "a lattice"],
)
def test_degenerate_scans_give_finite_descriptors(points: Points) -> None:
    unit, features = local_descriptors(points)
    assert np.isfinite(features).all()
    assert np.allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-5)


def test_too_few_points_for_descriptors_are_an_error() -> None:
    with pytest.raises(ScanError, match="at least 4 points"):
        local_descriptors(np.zeros((3, 3)))
