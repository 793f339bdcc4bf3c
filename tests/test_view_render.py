"""Views for detectors show what is in front, closed, the same in any order, place and unit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroflaw.geometry import zbuffer
from zeroflaw.geometry.cameras import PRESETS
from zeroflaw.geometry.view_frame import DENSE, SPARSE, in_pixels, view_normals
from zeroflaw.geometry.view_render import BRIGHTEST, Views, render_views
from zeroflaw.geometry.zbuffer import EMPTY
from zeroflaw.types import Float32, Float64, ScanError

FRONT = np.eye(3)[None]
RADIUS = 0.9 / 2  # of what fills a view, by the view's side


def sphere(count: int, seed: int = 0) -> Float64:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    unit: Float64 = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit


def sheet(count: int, seed: int = 0) -> Float64:
    flat = np.random.default_rng(seed).uniform(-1, 1, (count, 3))
    flat[:, 2] = 0
    return flat


def tilted(points: Float64, degrees: float) -> Float64:
    angle = np.deg2rad(degrees)
    turn = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    return points @ np.array(turn).T


def scattered(seed: int, count: int) -> tuple[Float64, Float32]:
    """Points on a coarse dyadic lattice, so that moving and scaling them loses no digit."""
    rng = np.random.default_rng(seed)
    points = rng.integers(-512, 513, (count, 3)) / 256
    return points, sphere(count, seed).astype(np.float32)


def same(one: Views, other: Views) -> bool:
    pairs = [(one.shade, other.shade), (one.depth, other.depth)]
    pairs += [(one.pixel, other.pixel), (one.visible, other.visible)]
    return all(torch.equal(*pair) for pair in pairs)


def distance_from_middle(size: int) -> Float64:
    """Of every pixel's middle from the view's middle, in pixels, (S, S)."""
    across = np.arange(size) + 0.5 - size / 2
    away: Float64 = np.hypot(across[:, None], across)
    return away


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_pictures_and_visible_points_are_those_of_a_slow_z_buffer(seed: int, count: int) -> None:
    points, normals = scattered(seed, count)
    size = 24
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zbuffer, "GAPS", 0.0)
        views = render_views(points, PRESETS["front"][:2], size, normals)
        place, _ = in_pixels(points, torch.tensor(PRESETS["front"][:2]).double(), size)
        keys = torch.full((2, size, size), EMPTY, dtype=torch.int32)
        keys.view(2, -1).scatter_(1, views.pixel, 0)
        splat = zbuffer.spread_of(keys).splat
    for view, turn in enumerate(PRESETS["front"][:2]):
        right, up, toward = turn.astype(np.float64) @ place.double().numpy()
        cosine = np.abs(normals @ turn[2])
        slope = np.minimum(np.sqrt(1 - cosine**2) / np.maximum(cosine, 1e-9), 3)
        row = np.floor(size / 2 - up).astype(int)
        column = np.floor(size / 2 + right).astype(int)
        assert views.pixel[view].tolist() == (row * size + column).tolist()
        nearest = np.full((size, size), np.inf)
        for y in range(size):
            for x in range(size):
                beside = np.maximum(np.abs(row - y), np.abs(column - x)) <= splat
                bulge = ((row - y) ** 2 + (column - x) ** 2) / splat
                nearest[y, x] = np.min((bulge - toward)[beside], initial=np.inf)
        assert torch.equal(views.shade[view] < 1, torch.from_numpy(np.isfinite(nearest)))
        span = max(np.ptp(nearest[np.isfinite(nearest)]), 1)
        depth = 1 - (nearest - nearest.min()) / span
        depth[~np.isfinite(nearest)] = 1
        np.testing.assert_allclose(views.depth[view].numpy(), depth, atol=2e-3)
        slack = -toward - nearest[row, column] - (splat + 2**0.5 * slope + slope**2 * splat / 4)
        sure = np.abs(slack) > 0.05
        assert views.visible[view].numpy()[sure].tolist() == (slack < 0)[sure].tolist()


def test_a_pixel_has_the_mean_brightness_of_its_points_on_one_surface() -> None:
    corners = [[-1, -1, 0], [1, -1, 0], [-1, 1, 0], [1, 1, 0]]
    middle = [[0.001, 0.001, 0], [0.002, 0.001, 0], [0.001, 0.002, -1]]
    normals = np.tile([0.0, 0.0, 1.0], (7, 1))
    normals[5] = [0.6, 0.0, 0.8]
    normals[6] = [1.0, 0.0, 0.0]  # far behind: it does not count
    views = render_views(np.array(corners + middle), FRONT, 64, normals)
    shown = views.shade.flatten()[views.pixel[0, 4]]
    assert float(shown) == pytest.approx(BRIGHTEST * 0.9, abs=1e-3)


@pytest.mark.parametrize("count", [500, 3_000, 20_000, 100_000])
@pytest.mark.parametrize("size", [112, 336])
def test_a_sphere_is_closed_and_no_larger_than_its_points(count: int, size: int) -> None:
    points = sphere(count)
    views = render_views(points, PRESETS["around"][:3], size, points)
    far = distance_from_middle(size) / size
    inside = torch.from_numpy(far < RADIUS * 0.96)
    assert int((views.shade[:, inside] == 1).sum()) == 0
    held = torch.full((3, size, size), EMPTY, dtype=torch.int32)
    held.view(3, -1).scatter_(1, views.pixel, 0)
    grown = (zbuffer.spread_of(held).splat + 2) * 2**0.5 / size
    assert bool((views.shade[:, torch.from_numpy(far > RADIUS + grown)] == 1).all())


@pytest.mark.parametrize("count", [3_000, 20_000, 100_000])
def test_a_spheres_far_side_shows_through_nowhere(count: int) -> None:
    points = sphere(count)
    views = render_views(points, FRONT, 336, points)
    far = distance_from_middle(336) / 336 / RADIUS
    inside = far < 0.9
    height = np.sqrt(1 - far[inside] ** 2)
    front = (views.depth[0].numpy() - views.depth[0, 168, 168].numpy())[inside]
    # The far side lies lower by twice the height; its rim is the depth picture's 0 or near it.
    assert np.abs(front - (height - 1)).max() < 0.25


@pytest.mark.parametrize("count", [500, 3_000, 20_000, 100_000])
@pytest.mark.parametrize("degrees", [0, 40])
def test_a_sheet_has_no_hole(count: int, degrees: float) -> None:
    points = tilted(sheet(count), degrees)
    normals = np.tile(tilted(np.array([[0.0, 0.0, 1.0]]), degrees), (count, 1))
    views = render_views(points, FRONT, 336, normals)
    half = 0.9 * 336 / 2
    border = 336 / count**0.5 + 3
    reach = int(half - border), int(half * np.cos(np.deg2rad(degrees)) - border)
    middle = views.shade[0, 168 - reach[1] : 168 + reach[1], 168 - reach[0] : 168 + reach[0]]
    assert int((middle == 1).sum()) == 0


def test_a_ring_keeps_its_hole() -> None:
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, 20_000), rng.uniform(0.5, 1, 20_000)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], axis=1)
    views = render_views(points, FRONT, 336)
    within = torch.from_numpy(distance_from_middle(336) / 336 < RADIUS * 0.45)
    assert bool((views.shade[0, within] == 1).all())


@pytest.mark.parametrize("count", [3_000, 60_000])
def test_of_a_sphere_the_points_turned_toward_the_viewer_are_visible(count: int) -> None:
    points = sphere(count)
    turns = PRESETS["around"]
    views = render_views(points, turns, 336, points)
    toward = torch.from_numpy(np.einsum("vi,ni->vn", turns[:, 2], points))
    assert bool(views.visible[toward > 0.35].all())
    assert not bool(views.visible[toward < -0.3].any())
    assert bool(views.visible.any(dim=0)[torch.from_numpy(np.abs(points[:, 0]) < 0.9)].all())


@pytest.mark.parametrize("degrees", [0, 30, 60, 70])
@pytest.mark.parametrize("count", [200, 5_000, 50_000])
def test_a_flat_surface_hides_none_of_its_points(degrees: float, count: int) -> None:
    points = tilted(sheet(count), degrees)
    normals = np.tile(tilted(np.array([[0.0, 0.0, 1.0]]), degrees), (count, 1))
    views = render_views(points, FRONT, 168, normals)
    assert bool(views.visible.all())


@pytest.mark.parametrize(("apart", "share"), [(0.04, 0.01), (0.08, 0.0)])
def test_of_two_close_sheets_the_far_one_is_hidden(apart: float, share: float) -> None:
    near, far = sheet(40_000, 1), sheet(40_000, 2)
    far[:, 2] -= apart
    points = np.concatenate([near, far])
    views = render_views(points, FRONT, 336, np.tile([0.0, 0.0, 1.0], (80_000, 1)))
    inner = torch.from_numpy(np.abs(far[:, :2]).max(axis=1) < 0.97)
    assert bool(views.visible[0, :40_000].all())
    assert float(views.visible[0, 40_000:][inner].float().mean()) <= share


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000))
def test_the_order_of_points_permutes_their_pixels_and_changes_no_picture(
    seed: int, count: int
) -> None:
    points, normals = scattered(seed, count)
    order = np.random.default_rng(seed).permutation(count)
    one = render_views(points, PRESETS["around"][:2], 48, normals)
    other = render_views(points[order], PRESETS["around"][:2], 48, normals[order])
    expected = Views(one.shade, one.depth, one.pixel[:, order], one.visible[:, order])
    assert same(other, expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(-20, 20))
def test_moving_and_scaling_a_scan_changes_nothing(seed: int, count: int, power: int) -> None:
    points, normals = scattered(seed, count)
    moved = (points + np.array([1024.0, -333.0, 7.5])) * 2.0**power
    one = render_views(points, PRESETS["front"][:3], 48, normals)
    assert same(render_views(moved, PRESETS["front"][:3], 48, normals), one)


def test_a_scan_in_any_unit_far_from_the_origin_looks_the_same() -> None:
    points = sphere(20_000) * [1, 0.7, 0.5]
    one = render_views(points, PRESETS["around"], 112)
    other = render_views(points * 0.0254 + [3e3, -2e2, 5e4], PRESETS["around"], 112)
    assert float((one.shade - other.shade).abs().mean()) < 1e-3
    assert float((one.depth - other.depth).abs().mean()) < 1e-3
    assert float((one.pixel == other.pixel).float().mean()) > 0.999
    assert float((one.visible == other.visible).float().mean()) > 0.995


def test_points_come_as_arrays_or_tensors_of_any_precision() -> None:
    points, normals = scattered(0, 500)
    one = render_views(points, FRONT, 64, normals)
    tensor = torch.from_numpy(points.astype(np.float32))
    assert same(one, render_views(tensor, torch.eye(3)[None], 64, torch.from_numpy(normals)))


def test_a_view_is_grey_on_white_and_near_is_bright_in_depth() -> None:
    points = tilted(sheet(20_000), 45)
    views = render_views(points, FRONT, 112, np.tile([0.0, 0.6, 0.8], (20_000, 1)))
    shown = views.shade[0] < 1
    assert float(views.shade[0][shown].min()) == pytest.approx(BRIGHTEST * 0.8, abs=1e-3)
    assert float(views.shade[0][shown].max()) == pytest.approx(BRIGHTEST * 0.8, abs=1e-3)
    middle = views.depth[0, :, 56][shown[:, 56]]
    assert float(middle[:3].mean()) > 0.9
    assert float(middle[-3:].mean()) < 0.1
    assert bool((views.depth[0][~shown] == 1).all())
    assert bool((views.shade[0, 0] == 1).all())


def test_rounding_does_not_fill_the_depth_of_a_flat_front() -> None:
    points = sheet(5_000)
    points[:, 2] = np.random.default_rng(1).uniform(-1e-9, 1e-9, 5_000)
    views = render_views(points, FRONT, 112)
    # What is left is the squares' bulge where points lie thin.
    assert float(views.depth[0, 20:92, 20:92].mean()) > 0.6
    lone = render_views(points[:1], FRONT, 112)
    assert float(lone.depth[0, 56, 56]) == 1


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((1, 3)),
        np.full((7, 3), 5.0),
        np.array([[0.0, 0, 0], [1, 2, 3]]),
        np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 2]]),
        np.linspace(0, 1, 50)[:, None] * np.ones(3),
        np.full((3, 3), 1e12) + np.eye(3),
        np.eye(3) * 1e-12,
    ],
    ids=["one", "equal", "two", "in line of sight", "line", "far away", "tiny"],
)
def test_few_and_degenerate_points_are_shown_without_nan(points: Float64) -> None:
    views = render_views(points, np.concatenate([FRONT, PRESETS["around"]]), 56)
    for picture in (views.shade, views.depth):
        assert bool(((picture >= 0) & (picture <= 1)).all())
    assert bool((views.shade < 1).flatten(1).any(dim=1).all())
    assert bool(views.visible.any(dim=1).all())
    assert bool(((views.pixel >= 0) & (views.pixel < 56 * 56)).all())


def test_strays_far_away_do_not_shrink_the_rest() -> None:
    points = sphere(5_000)
    strays = np.array([[300.0, 0, 0], [0, -200, 50], [0, 0, 900]])
    views = render_views(np.concatenate([points, strays]), FRONT, 112)
    assert float((views.shade[0] < 1).float().mean()) > 0.3
    assert not bool(views.visible[0, 5_000:5_002].any())


def test_a_bump_on_a_flat_plate_is_no_stray() -> None:
    points = sheet(10_000)
    points[:20, :2] *= 0.02
    points[:20, 2] = 0.2
    views = render_views(points, PRESETS["front"], 112)
    assert bool(views.visible[:, :20].any(dim=0).all())


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ScanError, match="no points"):
        render_views(np.empty((0, 3)), FRONT)
    for bad in (np.nan, np.inf):
        with pytest.raises(ScanError, match="not finite"):
            render_views(np.array([[0.0, 0, 0], [bad, 0, 0]]), FRONT)
    with pytest.raises(ValueError, match=r"expected \(N, 3\)"):
        render_views(np.zeros((4, 2)), FRONT)
    with pytest.raises(ValueError, match=r"expected \(V, 3, 3\)"):
        render_views(np.zeros((4, 3)), np.eye(3))
    with pytest.raises(ValueError, match="4 pixels"):
        render_views(np.zeros((4, 3)), FRONT, 4)
    with pytest.raises(ValueError, match="normals have shape"):
        render_views(np.zeros((4, 3)), FRONT, 56, np.zeros((5, 3)))


def test_a_dense_scans_normals_are_those_of_its_surface() -> None:
    points = sphere(DENSE + 20_000)
    facing = view_normals(points)
    assert float(np.abs(np.einsum("ij,ij->i", facing, points)).min()) > 0.99
    few = view_normals(points[:500])
    assert float(np.median(np.abs(np.einsum("ij,ij->i", few, points[:500])))) > 0.98


def test_the_order_of_a_dense_scans_points_changes_no_normal() -> None:
    points = sphere(SPARSE + 5_000) * [1, 0.7, 0.4]
    order = np.random.default_rng(1).permutation(len(points))
    np.testing.assert_array_equal(view_normals(points)[order], view_normals(points[order]))
