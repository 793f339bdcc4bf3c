"""The plane that a part lies on is left out; the part and its own faces stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import dent, sphere_points
from organised_trees import organised_scan
from zeroflaw.geometry.cells import touching_cells
from zeroflaw.geometry.plane import fit_plane, without_background
from zeroflaw.geometry.regions import connected_regions
from zeroflaw.geometry.support import find_support, without_plane
from zeroflaw.types import Bool, Float64, Scan

FULL = "no plane was left out"


def turned(points: Float64, seed: int = 3) -> Float64:
    """The points in another frame, far from the origin."""
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    moved: Float64 = points @ rotation + (500.0, -200.0, 80.0)
    return moved


def table_points(size: float = 200.0, count: int = 20_000, noise: float = 0.1) -> Float64:
    """A table around the origin, measured with noise."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-size / 2, size / 2, (count, 3))
    points[:, 2] = rng.normal(scale=noise, size=count)
    return points


def dome_points() -> Float64:
    """What is seen from above of a ball of radius 30 that lies on the table."""
    points = sphere_points(8_000, seed=1) * 30 + (10.0, -5.0, 30.0)
    return points[points[:, 2] > 12]


def on_table() -> tuple[Float64, Bool]:
    """A dome on a table, in any order, and which points are the dome's."""
    dome = dome_points()
    table = table_points()
    table = table[np.hypot(table[:, 0] - 10, table[:, 1] + 5) > 24]
    points = np.concatenate([dome, table])
    order = np.random.default_rng(2).permutation(len(points))
    return points[order], (np.arange(len(points)) < len(dome))[order]


def box_points(size: tuple[float, float, float], seed: int = 0, count: int = 12_000) -> Float64:
    """A box sampled evenly, on all sides."""
    rng = np.random.default_rng(seed)
    edges = np.array(size)
    areas = np.array([edges[1] * edges[2], edges[0] * edges[2], edges[0] * edges[1]])
    axis = rng.choice(3, size=count, p=areas / areas.sum())
    points = rng.uniform(0, edges, size=(count, 3))
    points[np.arange(count), axis] = edges[axis] * rng.integers(0, 2, size=count)
    return points


def test_a_plane_is_found_among_others_and_fitted_exactly() -> None:
    rng = np.random.default_rng(0)
    flat = np.c_[rng.uniform(-50, 50, (600, 2)), np.zeros(600)]
    points = turned(np.concatenate([flat, rng.uniform(-50, 50, (1400, 3))]))
    plane = fit_plane(points, 0.01)
    assert np.abs(plane.heights(points[:600])).max() < 1e-6
    assert np.isclose(np.linalg.norm(plane.normal), 1.0)
    assert plane.normal[np.abs(plane.normal).argmax()] > 0


def test_the_plane_is_that_of_least_squares() -> None:
    points = turned(table_points(count=3_000))
    plane = fit_plane(points, 5.0)
    expected = np.linalg.svd(points - points.mean(axis=0))[2][2]
    assert abs(plane.normal @ expected) == pytest.approx(1.0, abs=1e-12)
    assert plane.heights(points.mean(axis=0)) == pytest.approx(0.0, abs=1e-9)


def test_points_that_span_no_plane_are_refused() -> None:
    line = np.outer(np.arange(50.0), (1.0, 2.0, 3.0))
    for points in (line, line[:2], np.zeros((40, 3))):
        with pytest.raises(ValueError, match=r"plane|line"):
            fit_plane(points, 0.1)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 120), st.integers(0, 10_000), st.floats(0.5, 4.0))
def test_clusters_hold_what_is_near_and_part_what_is_far(
    count: int, seed: int, edge: float
) -> None:
    points = np.random.default_rng(seed).uniform(-10, 10, (count, 3))
    cluster = touching_cells(points, edge)
    everywhere = np.ones(count, dtype=bool)
    near = connected_regions(points, everywhere, edge)
    far = connected_regions(points, everywhere, 2 * np.sqrt(3) * edge)
    for one in range(count):
        assert (cluster[near == near[one]] == cluster[one]).all()
        assert (far[cluster == cluster[one]] == far[one]).all()
    assert set(cluster) == set(range(cluster.max() + 1))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_part_stays_and_its_table_goes_in_any_unit_and_frame(scale: float) -> None:
    points, dome = on_table()
    left = without_plane(Scan(turned(points) * scale))
    assert left.valid is not None
    assert np.array_equal(turned(points)[left.valid] * scale, left.points)
    assert np.mean(left.valid[dome]) > 0.999
    assert not left.valid[~dome].any()
    assert left.notes[0] == f"{np.count_nonzero(~left.valid)} points of the supporting plane " + (
        "were left out"
    )


def test_the_order_of_the_points_does_not_matter() -> None:
    points, _ = on_table()
    order = np.random.default_rng(5).permutation(len(points))
    one, other = without_plane(Scan(points)), without_plane(Scan(points[order]))
    assert one.valid is not None
    assert other.valid is not None
    assert np.array_equal(one.valid[order], other.valid)


def test_a_given_distance_is_taken() -> None:
    points, _ = on_table()
    left = without_plane(Scan(points), 20.0)
    assert 19.5 < left.points[:, 2].min() < 21
    assert len(left) > 1000


def test_smaller_parts_and_what_lies_elsewhere_are_left_out_and_counted() -> None:
    points, dome = on_table()
    rng = np.random.default_rng(6)
    screw = rng.uniform((60, 60, 5), (66, 66, 8), (60, 3))
    floor = np.c_[
        rng.uniform(110, 300, (3000, 1)), rng.uniform(-100, 100, (3000, 1)), [[-60.0]] * 3000
    ]
    left = without_plane(Scan(np.concatenate([points, screw, floor])))
    assert left.valid is not None
    assert not left.valid[len(points) :].any()
    assert np.mean(left.valid[: len(points)][dome]) > 0.999
    assert left.notes[1] == "3060 points beside the part were left out"


def test_all_that_belongs_to_a_point_stays_with_it() -> None:
    points, dome = on_table()
    rng = np.random.default_rng(7)
    rows = rng.random(len(points) + 500) < 2  # all
    rows[rng.choice(len(rows), 500, replace=False)] = False
    scan = Scan(
        points,
        normals=rng.normal(size=points.shape).astype(np.float32),
        colors=rng.integers(0, 255, points.shape).astype(np.uint8),
        labels=dome & (points[:, 0] > 25),
        grid=(1, len(rows)),
        valid=rows,
        dropped=3,
        notes=("said before",),
    )
    left = without_plane(scan)
    assert left.valid is not None
    assert len(left.valid) == len(rows)
    assert not left.valid[~rows].any()
    kept = left.valid[rows]
    for name in ("points", "normals", "colors", "labels"):
        assert np.array_equal(getattr(left, name), getattr(scan, name)[kept])
    assert (left.grid, left.dropped, left.notes[0]) == (scan.grid, 3, "said before")


def sphere() -> Float64:
    return sphere_points(6_000) * 20


def plate() -> Float64:
    return dent(box_points((80, 60, 10)), (30, 25, 10), 9, (0, 0, -3))[0]


def plate_with_boss() -> Float64:
    boss = box_points((30, 20, 15), seed=1, count=4_000) + np.array((25, 20, 10.2))
    return np.concatenate([box_points((80, 60, 10)), boss])


def flat_sheet() -> Float64:
    return table_points()


def sheet_with_a_speck() -> Float64:
    return dent(table_points(), (10, 10, 0), 9, (0, 0, 6))[0]


def frustum_with_boss_from_above() -> Float64:
    rng = np.random.default_rng(4)
    across = rng.uniform(-40, 40, (12_000, 2))
    farthest = np.abs(across).max(axis=1)
    height = np.where(farthest < 8, 12.0, np.minimum(0.0, 20 - farthest))
    height += rng.normal(scale=0.02, size=len(across))
    return np.asarray(np.column_stack([across, height]))


WHOLE = [
    sphere,
    plate,
    plate_with_boss,
    flat_sheet,
    sheet_with_a_speck,
    frustum_with_boss_from_above,
]


@pytest.mark.parametrize("part", WHOLE)
def test_the_faces_of_a_part_are_no_table(part: Callable[[], Float64]) -> None:
    scan = Scan(turned(part()))
    left = without_plane(scan)
    assert left.points is scan.points
    assert left.valid is None
    assert len(left.notes) == 1
    assert left.notes[0].startswith(FULL)


def test_a_box_on_a_small_table_keeps_its_top() -> None:
    box = box_points((100, 80, 40), count=9_000)
    box = box[box[:, 2] > 1.0] - (50, 40, 0)
    table = table_points(140, count=4_000)
    table = table[(np.abs(table[:, 0]) > 50) | (np.abs(table[:, 1]) > 40)]
    left = without_plane(Scan(turned(np.concatenate([box, table]))))
    assert left.valid is not None
    assert left.valid[: len(box)].mean() > 0.98
    assert not left.valid[len(box) :].any()


def test_few_points_and_points_on_a_line_are_left_alone() -> None:
    assert isinstance(find_support(sphere_points(32)), str)
    assert isinstance(find_support(np.outer(np.arange(100.0), (1.0, 1.0, 0.0))), str)


def organised(shape: str = "cap", defect: str = "bump", seed: int = 0) -> Scan:
    points, mask = organised_scan(shape, defect, seed)
    flat = points.reshape(-1, 3).astype(np.float64)
    valid = np.any(flat != 0, axis=1)
    assert isinstance(valid, np.ndarray)
    return Scan(flat[valid], labels=mask.reshape(-1)[valid], grid=mask.shape, valid=valid)


@pytest.mark.parametrize("shape", ["cap", "ring", "bar", "block"])
def test_the_background_of_an_organised_scan_goes(shape: str) -> None:
    scan = organised(shape)
    left = without_background(scan, 0.005)
    height = 0.5 + 0.05 * scan.points[:, 0] - 0.08 * scan.points[:, 1] - scan.points[:, 2]
    inclined = height / np.sqrt(1 + 0.05**2 + 0.08**2)
    assert scan.valid is not None
    assert left.valid is not None
    kept = left.valid[scan.valid]
    assert kept[inclined > 0.0053].all()
    assert not kept[inclined < 0.0047].any()
    assert np.array_equal(scan.points[kept], left.points)


def test_only_the_largest_cluster_stays_or_the_largest_inside() -> None:
    scan = organised("bar")
    assert scan.grid is not None
    assert scan.valid is not None
    alone = without_background(scan, 0.005)
    cells = np.flatnonzero(scan.valid)
    wall = cells % scan.grid[1] < 10
    points = scan.points.copy()
    points[wall, 2] -= 0.05
    walled = replace(scan, points=points, labels=None)
    assert wall.sum() > len(alone)
    largest = without_background(walled, 0.005)
    inside = without_background(walled, 0.005, inside=True)
    assert len(largest) == wall.sum()
    assert inside.valid is not None
    assert alone.valid is not None
    assert np.array_equal(inside.valid, alone.valid)
    assert inside.notes == alone.notes == ()


def test_labelled_points_that_go_are_counted() -> None:
    scan = organised()
    assert scan.labels is not None
    labels = scan.labels.copy()
    off = without_background(scan, 0.005)
    assert off.valid is not None
    assert scan.valid is not None
    plane = np.flatnonzero(~off.valid[scan.valid])
    labels[plane[:7]] = True
    left = without_background(replace(scan, labels=labels), 0.005)
    said = f"7 of {labels.sum()} points labelled defective were left out with the plane"
    assert left.notes == (said,)
    labels[:] = False
    labels[plane[:7]] = True
    none = without_background(replace(scan, labels=labels), 0.005)
    assert np.array_equal(none.points, off.points), "labels do not decide what goes"
    assert none.notes == ("7 of 7 points labelled defective were left out with the plane",)


def test_a_scan_whose_border_shows_no_plane_comes_back_whole() -> None:
    scan = organised()
    assert scan.grid is not None
    assert scan.valid is not None
    rows, columns = np.divmod(np.flatnonzero(scan.valid), scan.grid[1])
    middle = (np.minimum(rows, columns) > 4) & (np.maximum(rows, columns) < 59)
    valid = scan.valid.copy()
    valid[scan.valid] = middle
    bare = Scan(scan.points[middle], grid=scan.grid, valid=valid)
    rough = replace(scan, points=scan.points + np.random.default_rng(0).normal(size=(len(scan), 3)))
    flat = replace(scan, points=scan.points * (1, 1, 0))
    for one, reason in (
        (bare, "nothing is measured at the border"),
        (rough, "the border is not flat"),
        (flat, "only 0 points lie off it"),
    ):
        left = without_background(one, 0.005)
        assert left.points is one.points
        assert left.notes == (f"{FULL}: {reason}",)


def test_an_unorganised_scan_has_no_border() -> None:
    with pytest.raises(ValueError, match="no grid"):
        without_background(Scan(sphere()), 0.1)
