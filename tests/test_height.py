"""The height of a region: how far it lies from the surface around it, and on which side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from conftest import dent, sphere_points
from zeroflaw.geometry.area import point_areas
from zeroflaw.geometry.height import region_heights
from zeroflaw.synthesis.generate import Settings, Synthesized, good_twin, synthesize
from zeroflaw.synthesis.shapes import UnusableShape
from zeroflaw.synthesis.solids import SOLIDS
from zeroflaw.types import Float64, Scan

Points = NDArray[np.float64]


def height(scan: Scan, *masks: NDArray[np.bool_]) -> list[float | None]:
    index = [np.flatnonzero(mask) for mask in masks]
    return region_heights(scan, index, [point_areas(scan.points, one)[0].sum() for one in index])


def sphere(depth: float, noise: float = 0.0, count: int = 8000) -> tuple[Points, NDArray[np.bool_]]:
    """A sphere of radius 50 with a cap of radius 12 moved in or out by up to `depth`."""
    points, moved = dent(sphere_points(count) * 50, (0, 0, 50), 12, (0, 0, depth))
    return points + noise * np.random.default_rng(1).normal(size=points.shape), moved


def sheet(count: int = 4000, depth: float = -2.0, seed: int = 0) -> tuple[Points, Points]:
    """A flat sheet of 40 × 40 at z = 0 with a dent of radius 5, and how far points are from it."""
    points = np.random.default_rng(seed).uniform(-20, 20, (count, 3)) * (1, 1, 0)
    return dent(points, (0, 0, 0), 5, (0, 0, depth))[0], np.hypot(points[:, 0], points[:, 1])


@pytest.mark.parametrize("depth", [-6.0, -2.0, 2.0, 6.0])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_dent_is_as_deep_as_it_was_made_and_a_bulge_as_high(depth: float, noise: float) -> None:
    points, moved = sphere(depth, noise)
    (found,) = height(Scan(points), moved)
    assert found == pytest.approx(0.9 * depth, rel=0.15)  # the outermost 5 % of the area left out


def test_regions_that_are_half_marked_or_twice_as_wide_keep_their_side() -> None:
    points, _ = sphere(-5.0)
    around = np.linalg.norm(points - (0, 0, 50), axis=1)
    for radius, least in ((9, 3.5), (24, 1.5)):
        (found,) = height(Scan(points), around < radius)
        assert found is not None
        assert -6.0 < found < -least


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(1e-3, 1e3), st.floats(-1e4, 1e4))
def test_motion_scale_and_order_do_not_change_it(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    points, moved = sphere(-5.0, count=3000)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    order = rng.permutation(len(points))
    (before,) = height(Scan(points), moved)
    (after,) = height(Scan((points @ turn.T * scale + shift * scale)[order]), moved[order])
    assert before is not None
    assert after == pytest.approx(before * scale, rel=1e-3)


def test_the_other_side_of_a_thin_wall_is_not_taken_for_the_surface_around() -> None:
    front, across = sheet(8000)
    back = np.random.default_rng(3).uniform(-20, 20, (8000, 3)) * (1, 1, 0) - (0, 0, 1.5)
    points = np.concatenate([front, dent(back, (0, 0, -1.5), 5, (0, 0, -2.0))[0]])
    marked = np.concatenate([across < 5, np.zeros(8000, dtype=bool)])
    (found,) = height(Scan(points), marked)
    assert found is not None
    assert abs(found) == pytest.approx(1.8, rel=0.15)


def test_a_neighbouring_defect_is_not_taken_for_the_surface_around() -> None:
    points, across = sheet(6000)
    points, _ = dent(points, (7, 0, 0), 4, (0, 0, 6.0))
    beside = np.hypot(points[:, 0] - 7, points[:, 1]) < 4
    alone = (across < 5) & ~beside
    found, other = height(Scan(points), alone, beside)
    assert found is not None
    assert other is not None
    assert abs(found) == pytest.approx(1.8, rel=0.15)
    assert abs(other) == pytest.approx(5.2, rel=0.15)


def test_a_plain_place_has_hardly_any() -> None:
    points, _ = sphere(0.0, noise=0.05)
    marked = np.linalg.norm(points - (0, 50, 0), axis=1) < 10
    (found,) = height(Scan(points), marked)
    assert found is not None
    assert abs(found) < 0.2


def test_where_no_surface_goes_around_there_is_none() -> None:
    points, across = sheet()
    corner = (points[:, 0] > 14) & (points[:, 1] > 14)
    end = points[:, 0] > 15
    everything = np.ones(len(points), dtype=bool)
    lonely = np.concatenate([points, points[across < 2] + (0, 0, 300)])
    loose = np.arange(len(lonely)) >= len(points)
    for marked in (corner, end, everything):
        assert height(Scan(points), marked) == [None]
    assert height(Scan(lonely), loose) == [None]


def test_points_at_one_place_are_no_obstacle() -> None:
    points = np.zeros((200, 3))
    assert height(Scan(points), np.arange(200) < 50) == [None]
    assert region_heights(Scan(points), [], []) == []


def test_of_a_flat_sheet_only_the_file_can_tell_which_side_is_outside() -> None:
    points, across = sheet()
    for depth in (-2.0, 2.0):
        made, _ = sheet(depth=depth)
        assert height(Scan(made), across < 5) == [pytest.approx(1.8, rel=0.15)]
    for side in (1, -1):
        normals = np.tile(np.array([0, 0, side], dtype=np.float32), (len(points), 1))
        found = height(Scan(points, normals=normals), across < 5)
        assert found == [pytest.approx(side * -1.8, rel=0.15)]
    disagreeing = np.zeros((len(points), 3), dtype=np.float32)
    disagreeing[:, 2] = np.random.default_rng(0).choice([-1, 1], len(points))
    assert height(Scan(points, normals=disagreeing), across < 5) == [pytest.approx(1.8, rel=0.15)]


@pytest.mark.parametrize("dropped", [False, True])
def test_an_organised_scan_is_seen_from_its_sensor(dropped: bool) -> None:
    """A camera looks along z, its columns run along x and its rows along y."""
    y, x = np.mgrid[-20:20:80j, -20:20:80j]
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 100.0)], axis=1)
    points, marked = dent(points, (0, 0, 100), 5, (0, 0, 2.0))  # away from the camera
    valid = np.random.default_rng(0).random(x.size) < 0.8 if dropped else None
    kept = np.ones(x.size, dtype=bool) if valid is None else valid
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    scan = Scan(points[kept] @ turn.T, grid=(80, 80), valid=valid)
    assert height(scan, marked[kept]) == [pytest.approx(-1.8, rel=0.15)]


def moved_by(made: Synthesized, twin: Synthesized) -> Float64:
    """How far labelled points lie from the good twin's surface, with sign; (L,).

    Along the normal of the twin's points around, which is turned away from the part's middle.
    """
    good, points = twin.scan.points, made.scan.points[made.scan.labels]
    near = good[cKDTree(good).query(points, 12)[1]]
    middle = near.mean(axis=1)
    normals = np.linalg.svd(near - middle[:, None])[2][:, 2]
    outward = np.sign(np.einsum("ij,ij->i", normals, middle - good.mean(axis=0)))
    return np.asarray(np.einsum("ij,ij->i", points - middle, normals) * outward)


def test_synthesised_dents_and_bulges_are_as_deep_as_their_twins_say() -> None:
    kinds = ("bulge", "dent")
    base = Settings((8000, 9000), defective_share=1.0, one_sided_share=0.0, sizes=(0.08, 0.2))
    base = replace(base, noise=(1e-4, 2e-4))
    ratios, right = [], []
    for number in range(16):
        rng = np.random.default_rng([5, number])
        shape, seed = SOLIDS["superquadric"](rng), int(rng.integers(2**31))
        wanted = replace(base, kinds=(kinds[number % 2],))
        try:
            made, twin = synthesize(shape, seed, wanted), good_twin(shape, seed, wanted)
        except UnusableShape:
            continue
        if made.kind == "good":
            continue
        assert made.scan.labels is not None
        (found,) = height(made.scan, made.scan.labels)
        moved = moved_by(made, twin)
        if found is None or np.quantile(np.abs(moved), 0.95) < 0.003 * made.scan.points.std():
            continue
        ratios.append(abs(found) / np.quantile(np.abs(moved), 0.95))
        right.append(np.sign(found) == np.sign(moved.sum()))
    assert len(ratios) >= 10
    assert 0.9 < np.median(ratios) < 1.1
    assert np.mean([0.6 < ratio < 1.7 for ratio in ratios]) >= 0.8
    assert np.mean(right) >= 0.9


def test_where_the_scan_does_not_tell_the_outside_the_detector_does() -> None:
    rng = np.random.default_rng(0)
    flat = np.stack([*rng.uniform(-1, 1, (2, 4000)), np.zeros(4000)], axis=1)
    beside = np.linalg.norm(flat[:, :2], axis=1)
    flat[:, 2] = 0.1 * np.exp(-((beside / 0.15) ** 2))
    region, area = np.flatnonzero(beside < 0.25), float(np.pi * 0.25**2)
    (unknown,) = region_heights(Scan(flat), [region], [area])
    (inside,) = region_heights(Scan(flat), [region], [area], lambda index: -float(len(index)))
    (outside,) = region_heights(Scan(flat), [region], [area], lambda index: float(len(index)))
    assert unknown is not None
    assert (unknown, -unknown, unknown) == (unknown, inside, outside)
    assert unknown == pytest.approx(0.1, abs=0.03)
