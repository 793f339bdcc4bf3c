"""Synthesised scans: what is promised of seeds, twins, labels and traits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from zeroflaw.synthesis.defects import DEFECTS, NEED_FEATURES
from zeroflaw.synthesis.generate import Settings, Synthesized, good_twin, synthesize
from zeroflaw.synthesis.sensor import measured, random_sensor
from zeroflaw.synthesis.shapes import Shape, UnusableShape
from zeroflaw.synthesis.solids import SOLIDS, random_solids
from zeroflaw.types import Float32, Float64

FEATURED = ("animal", "bracket", "casting", "cup", "housing", "tap")
SOLID = ("animal", "casting", "fruit", "shaft", "superquadric", "toy")
SMALL = Settings(points=(5_000, 5_000))
CLEAR = Settings(
    points=(6_000, 6_000), defective_share=1.0, sizes=(0.12, 0.25), noise=(0.0001, 0.0005)
)


def only(kind: str, settings: Settings = CLEAR) -> Settings:
    return replace(settings, kinds=(kind,))


def partner(made: Synthesized, twin: Synthesized) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both scans that sample the same place of the part."""
    _, rows, twin_rows = np.intersect1d(made.origin, twin.origin, return_indices=True)
    return rows, twin_rows


def auroc(positive: Float64, negative: Float64) -> float:
    ranks = rankdata(np.concatenate([positive, negative]))
    count = len(positive)
    area = ranks[:count].sum() - count * (count + 1) / 2
    return float(area / count / len(negative))


@pytest.fixture(scope="module")
def solids() -> list[Shape]:
    return random_solids(len(SOLIDS), seed=1)


@pytest.mark.parametrize("family", list(SOLIDS))
def test_every_family_of_solids_can_be_scanned(family: str) -> None:
    shape = SOLIDS[family](np.random.default_rng(3))
    made = synthesize(shape, 1, SMALL)
    assert shape.category == family
    assert len(made.scan) > 3_000
    assert np.isfinite(made.scan.points).all()


def test_the_same_seed_gives_the_same_scan_and_another_seed_another(solids: list[Shape]) -> None:
    first, again, other = (synthesize(solids[0], seed, SMALL) for seed in (7, 7, 8))
    assert first.scan.points.tobytes() == again.scan.points.tobytes()
    assert first.scan.labels is not None
    assert again.scan.labels is not None
    assert (first.scan.labels == again.scan.labels).all()
    assert first.kind == again.kind
    assert not np.array_equal(first.scan.points[:100], other.scan.points[:100])


@pytest.mark.parametrize("kind", list(DEFECTS))
def test_every_kind_leaves_labels_that_are_a_small_part_of_the_scan(
    kind: str, solids: list[Shape]
) -> None:
    could = [one for one in solids if kind not in NEED_FEATURES or one.category in FEATURED]
    made = [synthesize(shape, seed, only(kind)) for seed, shape in enumerate(could)]
    found = [one for one in made if one.kind == kind]
    assert len(found) >= len(made) - 3
    for one in found:
        assert one.scan.labels is not None
        assert 0 < one.scan.labels.mean() < 0.5
        assert one.size > 0
        assert one.amplitude > 0


def test_a_scan_has_labels_exactly_when_it_is_defective(solids: list[Shape]) -> None:
    settings = replace(SMALL, points=(3_000, 3_000))
    for seed in range(60):
        made = synthesize(solids[seed % len(solids)], seed, settings)
        assert made.scan.labels is not None
        assert made.scan.labels.any() == (made.kind != "good")


def test_several_defects_lie_apart_and_each_point_knows_which_is_its_own() -> None:
    many = replace(CLEAR, sizes=(0.05, 0.12), most_defects=5)
    made = [synthesize(shape, seed, many) for seed, shape in enumerate(random_solids(24, seed=4))]
    assert max(len(one.kinds) for one in made) >= 3
    for one in made:
        assert one.scan.labels is not None
        assert one.kinds[:1] == (one.kind,) or one.kind == "good"
        assert ((one.cause >= 0) == one.scan.labels).all()
        for number in range(len(one.kinds)):
            own = one.scan.points[one.cause == number]
            others = one.scan.points[(one.cause >= 0) & (one.cause != number)]
            assert len(own) >= 4  # of at least 12 candidates some are drawn
            if len(others):
                assert cKDTree(others).query(own)[0].min() > 0


def test_more_defects_leave_the_first_and_the_good_twin_as_they_are(solids: list[Shape]) -> None:
    many = replace(CLEAR, most_defects=4)
    for seed, shape in enumerate(solids[:6]):
        single, several = synthesize(shape, seed, CLEAR), synthesize(shape, seed, many)
        assert (single.kind, single.size) == (several.kind, several.size)
        first, second = good_twin(shape, seed, CLEAR), good_twin(shape, seed, many)
        np.testing.assert_array_equal(first.scan.points, second.scan.points)


@pytest.mark.parametrize("kind", sorted(set(DEFECTS) - {"hole", "rough"}))
def test_labels_are_where_the_surface_left_the_good_part(kind: str, solids: list[Shape]) -> None:
    found = 0
    for seed, shape in enumerate(solids[::2]):
        made = synthesize(shape, seed, only(kind))
        labels, away = made.scan.labels, np.abs(made.displacement)
        assert labels is not None
        if made.kind == kind:
            assert away[labels].min() >= away[~labels].max()
            found += 1
    assert found > 2


def test_a_rough_patch_is_labelled_where_its_heights_around_a_point_are_visible(
    solids: list[Shape],
) -> None:
    for seed, shape in enumerate(solids[::3]):
        made = synthesize(shape, seed, only("rough"))
        labels = made.scan.labels
        assert labels is not None
        if made.kind == "rough":
            around = cKDTree(made.scan.points).query(made.scan.points, k=12)[1]
            level = np.sqrt((made.displacement[around] ** 2).mean(axis=1))
            assert auroc(level[labels], level[~labels]) > 0.97
            assert labels[level < 0.02 * level.max()].mean() < 0.01


@pytest.mark.parametrize(("kind", "sign"), [("bulge", 1), ("excess", 1), ("dent", -1)])
def test_what_is_added_stands_out_and_what_is_pushed_lies_in(
    kind: str, sign: int, solids: list[Shape]
) -> None:
    """Where the part is thick: a thin wall bulges on one side and sinks on the other."""
    made = [synthesize(one, 1, only(kind)) for one in solids if one.category in SOLID]
    ways = [np.median(one.displacement[one.scan.labels] * sign) for one in made if one.kind == kind]
    assert len(ways) >= len(SOLID) - 1
    assert sum(way < 0 for way in ways) <= 1


@pytest.mark.parametrize("kind", list(DEFECTS))
def test_twins_are_the_same_but_for_the_defect(kind: str, solids: list[Shape]) -> None:
    for seed, shape in enumerate(solids[::4]):
        made, twin = synthesize(shape, seed, only(kind)), good_twin(shape, seed, only(kind))
        assert twin.kind == "good"
        assert twin.scan.labels is not None
        assert not twin.scan.labels.any()
        assert made.noise == twin.noise
        assert made.sided == twin.sided
        assert len(made.scan) == len(twin.scan)
        rows, twin_rows = partner(made, twin)
        assert len(rows) > 0.6 * len(twin.scan)
        moved = np.linalg.norm(made.scan.points[rows] - twin.scan.points[twin_rows], axis=1)
        assert made.scan.labels is not None
        untouched = ~made.scan.labels[rows] & (made.displacement[rows] == 0)
        assert untouched.mean() > 0.5
        assert moved[untouched].max() < 0.05 * shape.triangles.diagonal
        assert np.median(moved[untouched]) == 0


def test_displacement_is_what_moved_a_point_from_its_twin(solids: list[Shape]) -> None:
    for seed in range(6):
        shape = solids[seed]
        made, twin = synthesize(shape, seed, only("bulge")), good_twin(shape, seed, only("bulge"))
        rows, twin_rows = partner(made, twin)
        moved = np.linalg.norm(made.scan.points[rows] - twin.scan.points[twin_rows], axis=1)
        assert (np.abs(made.displacement[rows]) <= moved + 0.03 * shape.triangles.diagonal).all()
        assert np.corrcoef(np.abs(made.displacement[rows]), moved)[0, 1] > 0.8


def test_a_point_is_measured_where_it_is_however_steeply_it_is_seen() -> None:
    eye = np.array([[0.0, 0.0, 3.0]], np.float32)
    sensor = replace(
        random_sensor(np.random.default_rng(0), True, (0.001, 0.001)), eyes=eye, step=0.0
    )
    surface = np.array([[0.4, 0.0, 0.0], [0.0, 0.0, 0.5]], np.float32)
    rays = (eye - surface) / np.linalg.norm(eye - surface, axis=1, keepdims=True)
    moved = surface + np.array([[0.05, 0.02, 0.0], [0.0, 0.03, 0.0]], np.float32)
    found = measured(moved, rays.astype(np.float32), np.zeros(2, np.float32), sensor)
    np.testing.assert_allclose(found, moved, atol=1e-6)


def test_a_one_sided_scan_sees_less_of_the_part_than_a_full_one(solids: list[Shape]) -> None:
    ball = solids[list(SOLIDS).index("superquadric")]
    full = synthesize(ball, 2, replace(SMALL, one_sided_share=0.0, kinds=("good",)))
    one = synthesize(ball, 2, replace(SMALL, one_sided_share=1.0, kinds=("good",)))
    assert (full.sided, one.sided) == ("full", "one")
    spread = [np.linalg.eigvalsh(np.cov(made.scan.points.T)).prod() for made in (full, one)]
    assert spread[1] < 0.8 * spread[0]


def test_inner_faces_are_not_seen() -> None:
    shape = joined_shapes(closed_box(1.0), closed_box(0.5))
    calm = Settings(points=(5_000, 5_000), kinds=("good",), noise=(1e-5, 2e-5))
    for seed in range(4):
        made = synthesize(shape, seed, calm)
        middle = np.linalg.norm(made.scan.points, axis=1) < 0.49
        assert middle.mean() < 0.005


def joined_shapes(first: Shape, second: Shape) -> Shape:
    """Both meshes as one part."""
    return Shape(
        np.concatenate([first.vertices, second.vertices]),
        np.concatenate([first.faces, second.faces + len(first.vertices)]),
        "joined",
        "joined",
        "test",
    )


def stretched(shape: Shape, low: tuple[float, ...], high: tuple[float, ...]) -> Shape:
    """The shape, put into the box between two corners."""
    span = np.ptp(shape.vertices, axis=0)
    unit = (shape.vertices - shape.vertices.min(axis=0)) / span
    placed = np.array(low) + unit * (np.array(high) - np.array(low))
    return replace(shape, vertices=placed.astype(np.float32))


def closed_box(size: float) -> Shape:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    vertices: Float32 = (corners - np.float32(0.5)) * np.float32(size)
    return Shape(vertices, np.array(faces, np.int32), "box", "box", "test")


@pytest.mark.parametrize(
    "vertices",
    [np.zeros((3, 3)), np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.full((3, 3), np.nan)],
    ids=["point", "line", "not finite"],
)
def test_a_mesh_without_surface_is_unusable(vertices: Float64) -> None:
    faces = np.array([[0, 1, 2]], np.int32)
    shape = Shape(vertices.astype(np.float32), faces, "flat", "none", "test")
    with pytest.raises(UnusableShape):
        synthesize(shape, 0, SMALL)


@hypothesis_settings(max_examples=15, deadline=None)
@given(
    scale=strategies.floats(1e-3, 1e4),
    offset=strategies.floats(-1e3, 1e3),
    seed=strategies.integers(0, 1000),
)
def test_scans_keep_the_unit_and_place_of_the_shape(scale: float, offset: float, seed: int) -> None:
    box = closed_box(1.0)
    moved = replace(box, vertices=box.vertices * np.float32(scale) + np.float32(offset))
    made = synthesize(moved, seed, replace(SMALL, points=(2_000, 2_000), kinds=("good",)))
    reach = np.abs(made.scan.points - offset).max()
    assert 0.3 * scale < reach < 1.2 * scale + 1e-4 * abs(offset)
