"""Pictures of point clouds show what is in front, closed, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroflaw.geometry.cameras import Frame, View, four_views, frame
from zeroflaw.geometry.render import disc, project, render, splat
from zeroflaw.types import Float64, Int64, Scan, UInt8

FRONT = View("front", np.eye(3))
SQUARE = Frame(np.zeros(3), 2.4, 2.4)


def sphere(count: int, seed: int = 0) -> Float64:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    unit: Float64 = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit


def cube(count: int) -> tuple[Float64, Int64]:
    """Points on a cube and the face that each lies on."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (count, 3))
    face = rng.integers(0, 6, count)
    points[np.arange(count), face // 2] = np.where(face % 2, 1.0, -1.0)
    return points, face


def grey(count: int, value: int = 120) -> UInt8:
    return np.full((count, 3), value, dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([0.5, 1.0, 2.3]))
def test_every_pixel_shows_the_nearest_of_the_discs_on_it(
    seed: int, count: int, radius: float
) -> None:
    rng = np.random.default_rng(seed)
    row, column = rng.integers(-2, 14, (2, count))
    depth = rng.uniform(-50, 50, count).astype(np.float32)
    index, _ = splat(row, column, depth, (12, 12), radius)
    bulge = {o: (o[0] ** 2 + o[1] ** 2) / (2 * max(radius, 1.0)) for o in disc(radius)}
    hidden_within = 4 * max(radius, 1) + 0.01  # single pixels between nearer ones are closed
    for y in range(12):
        for x in range(12):
            here = {
                i: depth[i] + bulge[(y - row[i], x - column[i])]
                for i in range(count)
                if (y - row[i], x - column[i]) in bulge and 0 <= row[i] < 12 and 0 <= column[i] < 12
            }
            shown = int(index[y, x])
            if shown in here:
                assert here[shown] <= min(here.values()) + 1e-4
            elif here:
                assert depth[shown] < min(here.values()) - hidden_within / 2


def test_a_closed_surface_has_no_gaps_and_hides_its_back() -> None:
    for count in (500, 3_000, 60_000):
        points = sphere(count)
        shown = render(points, grey(count), FRONT, SQUARE, 100.0)
        y, x = np.mgrid[:240, :240]
        inside = (x + 0.5 - 120) ** 2 + (y + 0.5 - 120) ** 2 < 92**2
        assert (shown.index[inside] >= 0).all()
        behind = points[shown.index[inside]][:, 2] < -0.05
        assert behind.mean() < 0.002


def test_points_outside_the_frame_and_nothing_else_are_left_out() -> None:
    points = np.array([[0.0, 0, 0], [50, 0, 0], [0, -1e30, 0], [0.5, 0.5, 9]])
    shown = render(points, grey(4), FRONT, SQUARE, 20.0, radius=0.5)
    assert set(np.unique(shown.index)) == {-1, 0, 3}


def test_a_point_far_behind_does_not_flatten_the_rest() -> None:
    points = sphere(8_000)
    far = np.vstack([points, [[0.0, 0, -1e30], [1.19, 1.19, 1e30]]])
    alone = render(points, grey(8_000), FRONT, SQUARE, 60.0, radius=2.0)
    with_far = render(far, grey(8_002), FRONT, SQUARE, 60.0, radius=2.0)
    changed = alone.image != with_far.image
    assert changed[10:].sum() < 30


def test_the_picture_does_not_depend_on_the_order_of_the_points() -> None:
    points = sphere(4_000)
    colors = np.random.default_rng(1).integers(0, 255, (4_000, 3)).astype(np.uint8)
    order = np.random.default_rng(2).permutation(4_000)
    first = render(points, colors, FRONT, SQUARE, 80.0, radius=2.0)
    second = render(points[order], colors[order], FRONT, SQUARE, 80.0, radius=2.0)
    assert np.array_equal(first.image, second.image)


def test_coordinates_far_from_the_origin_lose_nothing() -> None:
    points = np.round(sphere(5_000) * 2**20) / 2**20  # exact when moved
    far = np.array([500_000.0, 5_400_000.0, 300.0])
    moved = Frame(SQUARE.center + far, SQUARE.width, SQUARE.height)
    here = render(points, grey(5_000), FRONT, SQUARE, 60.0)
    there = render(points + far, grey(5_000), FRONT, moved, 60.0)
    assert np.array_equal(here.image, there.image)


def test_light_comes_from_the_upper_left() -> None:
    image = render(sphere(40_000), grey(40_000), FRONT, SQUARE, 60.0).image[..., 0]
    upper_left, middle, lower_right = (
        image[row - 5 : row + 5, column - 5 : column + 5].mean()
        for row, column in ((45, 55), (72, 72), (102, 95))
    )
    assert upper_left > middle + 20 > lower_right + 40


def test_colors_are_those_of_the_points_shown() -> None:
    points = sphere(20_000)
    colors = np.where(points[:, :1] > 0, (200, 20, 20), (20, 20, 200)).astype(np.uint8)
    image = render(points, colors, FRONT, SQUARE, 60.0).image.astype(int)
    assert (image[40:100, 85:110, 0] > image[40:100, 85:110, 2]).all()
    assert (image[40:100, 34:59, 0] < image[40:100, 34:59, 2]).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 50), st.floats(0, 3))
def test_four_views_are_rotations_and_the_frame_fits_them(
    seed: int, count: int, flatness: float
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (count, 3)) * 10.0 ** -np.array([0, flatness, 2 * flatness])
    points = points @ np.linalg.qr(rng.normal(size=(3, 3)))[0] + rng.normal(size=3) * 100
    views = four_views(Scan(points))
    shown = frame(points, views)
    for view in views:
        assert np.allclose(view.rotation @ view.rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(view.rotation) == pytest.approx(1)
    if count >= 3:
        across = [(points - shown.center) @ view.rotation[:2].T for view in views]
        inside = [np.abs(one) <= (shown.width / 2, shown.height / 2) for one in across]
        assert np.mean(inside) > 0.9


def test_the_frame_of_an_even_scan_holds_every_point() -> None:
    points, _ = cube(5_000)
    views = four_views(Scan(points))
    shown = frame(points, views)
    for view in views:
        row, column, _ = project(points, view, shown, 50.0)
        assert row.min() >= 0
        assert column.min() >= 0
        assert row.max() < round(shown.height * 50)
        assert column.max() < round(shown.width * 50)


def test_a_stray_point_does_not_shrink_the_scan() -> None:
    points, _ = cube(5_000)
    stray = np.vstack([points, [[400.0, 0, 0]]])
    assert frame(stray, four_views(Scan(points))).width < 8


def test_the_four_views_together_show_all_faces_of_a_box() -> None:
    points, face = cube(60_000)
    for lengths in ((1, 1, 1), (4, 1, 1), (1, 6, 1), (1, 1, 9), (5, 5, 0.3), (0.1, 3, 8)):
        box = points * lengths
        views = four_views(Scan(box))
        shown = frame(box, views)
        scale = 200 / max(shown.width, shown.height)
        seen: set[int] = set()
        for view in views:
            index = render(box, grey(len(box)), view, shown, scale).index
            seen |= set(face[np.unique(index[index >= 0])])
        assert seen == set(range(6)), lengths


def organised(turn: Float64) -> Scan:
    """A bulging sheet as a depth camera at the origin sees it: x right, y down, z away."""
    rows, columns = np.mgrid[:40, :60]
    x, y = (columns - 30) / 30, (rows - 20) / 30
    points = np.stack([x, y, 3 - 0.3 * np.exp(-4 * (x**2 + y**2))], axis=-1).reshape(-1, 3)
    valid = np.ones(2400, dtype=bool)
    valid[:500:7] = False
    return Scan(points[valid] @ turn.T, grid=(40, 60), valid=valid)


def test_an_organised_scan_is_looked_at_from_the_side_of_its_sensor() -> None:
    quarter = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    for turn in (np.eye(3), quarter):
        views = four_views(organised(turn))
        right, up, toward = (turn @ axis for axis in ([1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]))
        assert np.allclose(views[0].rotation, [right, up, toward], atol=0.05)
        assert all(view.rotation[2] @ toward > 0.5 for view in views)


def test_a_grid_that_does_not_match_the_points_is_not_relied_on() -> None:
    scan = Scan(sphere(100), grid=(3, 4))
    assert [view.name for view in four_views(scan)] == ["front", "right", "back", "left"]


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.ones((5, 3)), np.eye(3)[[0, 0, 1]]])
def test_points_without_a_surface_are_drawn_all_the_same(points: Float64) -> None:
    views = four_views(Scan(points))
    shown = frame(points, views)
    scale = 50 / max(shown.width, shown.height)
    assert (render(points, grey(len(points)), views[0], shown, scale).index >= 0).any()
