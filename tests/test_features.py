"""Features of parts: what of a mesh could be absent, and what a scan without it shows."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from zeroflaw.synthesis.generate import Settings, Synthesized, good_twin, synthesize
from zeroflaw.synthesis.implicit import ball, block, capsule, merged, meshed, rod, without
from zeroflaw.synthesis.parts import enclosed, features
from zeroflaw.synthesis.shapes import Shape
from zeroflaw.synthesis.solids import SOLIDS
from zeroflaw.synthesis.surfaces import sample_triangles
from zeroflaw.synthesis.sweeps import joined, revolved, shaped
from zeroflaw.types import Float64

CALM = Settings(
    points=(8_000, 8_000), defective_share=1.0, kinds=("missing",), noise=(1e-5, 2e-5), attempts=12
)
SEEDS = range(6)
TOP, FOOT, HIGH = 0.2, 0.25, 0.7  # of the studded plate: its upper face; the stud's radius and tip
LOW_CORNER, HIGH_CORNER = np.array([-1.2, -1.2, -0.3]), np.array([1.2, 1.2, 1.0])


def studded_plate() -> Shape:
    """A plate with a stud that is a piece of the mesh of its own, sunk a little into the plate."""
    plate = meshed(block(np.array([0, 0, 0]), np.array([1, 1, TOP]), 0.02), LOW_CORNER, HIGH_CORNER)
    profile = np.array([[0, TOP - 0.1], [FOOT, TOP - 0.1], [FOOT, HIGH], [0, HIGH]])
    return joined([plate, revolved(profile)], "studded plate")


def blended_plate() -> Shape:
    """The same as one smooth surface that knows what it is without its stud."""
    plate = block(np.array([0, 0, 0]), np.array([1, 1, TOP]), 0.02)
    stud = rod(np.array([0, 0, HIGH / 2]), 2, FOOT, HIGH / 2)
    shape = shaped(*meshed(merged([plate, stud], 0.05), LOW_CORNER, HIGH_CORNER), "blended plate")
    return replace(shape, variants=(partial(meshed, plate, LOW_CORNER, HIGH_CORNER),))


PLATES = {"a piece of the mesh": studded_plate, "part of a blend": blended_plate}


def lacking(shape: Shape, one_sided: float) -> list[tuple[Synthesized, Synthesized]]:
    """Pairs of scans without and with the stud, where the sensor saw enough of its place."""
    settings = replace(CALM, one_sided_share=one_sided)
    made = [(synthesize(shape, seed, settings), seed) for seed in SEEDS]
    return [(one, good_twin(shape, seed, settings)) for one, seed in made if one.kind == "missing"]


def upright(scan: Float64, pair: tuple[Synthesized, Synthesized]) -> Float64:
    """Points in the frame of the plate: the middle of its upper face at 0, z along the stud.

    Found from the good twin: nothing but the stud is further from the plate's middle plane.
    """
    good = pair[1].scan.points
    plane = good - good.mean(axis=0)
    normal = np.linalg.svd(plane[np.linalg.norm(plane, axis=1) > 0.75], full_matrices=False)[2][2]
    height = good @ normal
    middle = np.median(height)
    normal = normal if height.max() - middle > middle - height.min() else -normal
    tip = (good @ normal).max()
    axis = good[good @ normal > tip - 0.05 * HIGH].mean(axis=0)
    offset = scan - axis
    up = offset @ normal
    across = np.linalg.norm(offset - up[:, None] * normal, axis=1)
    return np.column_stack([across, up + HIGH - TOP])


@pytest.mark.parametrize("plate", PLATES)
def test_what_is_labelled_is_the_place_where_the_feature_stood(plate: str) -> None:
    pairs = lacking(PLATES[plate](), 0.0)
    assert len(pairs) > 3
    for pair in pairs:
        labels = pair[0].scan.labels
        assert labels is not None
        across, up = upright(pair[0].scan.points, pair).T
        assert across[labels].max() < FOOT + 0.12
        assert np.abs(up[labels]).max() < 0.05
        foot = (across < 0.8 * FOOT) & (np.abs(up) < 0.03)
        assert labels[foot].mean() > 0.95


@pytest.mark.parametrize("plate", PLATES)
def test_nor_is_anything_else_labelled_where_half_of_the_part_is_seen(plate: str) -> None:
    pairs = lacking(PLATES[plate](), 1.0)
    assert len(pairs) >= 2
    for pair in pairs:
        spot = pair[0].scan.points[pair[0].scan.labels]
        flat = spot - spot.mean(axis=0)
        turned = flat @ np.linalg.svd(flat, full_matrices=False)[2].T
        low, high = np.quantile(turned, (0.01, 0.99), axis=0)  # without stray points
        assert high[0] - low[0] < 2 * FOOT + 0.24
        assert high[2] - low[2] < 0.05


@pytest.mark.parametrize("plate", PLATES)
def test_the_feature_is_gone_and_the_twin_has_it(plate: str) -> None:
    for pair in lacking(PLATES[plate](), 0.0):
        for scan, there in zip(pair, (False, True), strict=True):
            up = upright(scan.scan.points, pair)[:, 1]
            assert ((up > 0.15).mean() > 0.02) == there
        assert pair[1].scan.labels is not None
        assert not pair[1].scan.labels.any()
        assert 0.5 * FOOT < pair[0].size * np.linalg.norm([2, 2, 0.9]) < 2.5 * FOOT


def test_what_stood_in_the_shadow_of_a_feature_is_seen_but_not_labelled() -> None:
    shown = 0
    for pair in lacking(studded_plate(), 1.0):
        labels = pair[0].scan.labels
        assert labels is not None
        new = pair[0].origin == -1
        shown += int((new & ~labels).sum())
        assert (pair[0].displacement[new & ~labels] > -0.01).all()
    assert shown > 20


def test_variants_are_the_same_but_for_the_feature() -> None:
    shape = blended_plate()
    (feature,) = (make() for make in features(shape))
    triangles = shape.triangles
    middle = triangles.corner + (triangles.edge1 + triangles.edge2) / 3
    places = middle * triangles.diagonal + triangles.center
    across = np.linalg.norm(places[:, :2], axis=1)
    assert across[feature.gone].max() < FOOT + 0.2
    assert feature.gone[(across < 0.9 * FOOT) & (places[:, 2] > TOP + 0.1)].all()
    assert feature.come is not None
    assert feature.come.area * triangles.diagonal**2 == pytest.approx(np.pi * 0.3**2, rel=0.3)


@pytest.mark.parametrize("family", ["animal", "bracket", "casting", "cup", "housing", "tap"])
def test_families_with_features_have_some(family: str) -> None:
    for seed in range(3):
        shape = SOLIDS[family](np.random.default_rng(seed))
        found = [make() for make in features(shape)][:3]
        if family != "bracket":
            assert found
        for feature in found:
            assert 0 < feature.gone.mean() < 0.8


def test_a_part_in_one_piece_has_no_features() -> None:
    for family in ("bottle", "toy", "gear"):
        assert features(SOLIDS[family](np.random.default_rng(0))) == []


def test_what_a_closed_surface_goes_around_is_told_either_way_out() -> None:
    shape = shaped(
        *meshed(ball(np.zeros(3), np.full(3, 0.8)), np.full(3, -1.0), np.ones(3)), "ball"
    )
    samples = sample_triangles(shape.triangles, 4_000, np.random.default_rng(0))
    radius = float(np.linalg.norm(samples.points, axis=1).mean())
    area = shape.triangles.area / 4_000
    places = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    places *= np.random.default_rng(2).uniform(0, 2, (500, 1)).astype(np.float32) * radius
    distance = np.linalg.norm(places, axis=1) / radius
    clear = np.abs(distance - 1) > 0.1
    for sign in (1, -1):
        inside = enclosed(places, samples.points, np.float32(sign) * samples.normals, area)
        np.testing.assert_array_equal(inside[clear], distance[clear] < 1)


def test_a_mesh_from_distances_lies_where_they_are_0_and_faces_outwards() -> None:
    body = without(
        merged([capsule(np.zeros(3), np.array([1.0, 0, 0]), 0.4, 0.8)], 0.1),
        [rod(np.array([0.5, 0, 0]), 2, 0.15, 1.0)],
    )
    vertices, faces = meshed(body, np.array([-0.6, -0.6, -0.6]), np.array([1.6, 0.6, 0.6]))
    assert np.abs(body(vertices.T.astype(np.float32))).max() < 0.02
    shape = shaped(vertices, faces, "link")
    triangles = shape.triangles
    outside = (triangles.corner + (triangles.edge1 + triangles.edge2) / 3) + 0.02 * triangles.normal
    places = outside * triangles.diagonal + triangles.center
    assert (body(places.T.astype(np.float32)) > 0).mean() > 0.99
