"""Connected regions and their description."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from zeroflaw.geometry.area import point_areas
from zeroflaw.geometry.cells import linked_cells
from zeroflaw.geometry.regions import connected_regions, describe_regions, label_regions
from zeroflaw.types import Scan, ScanError

Points = NDArray[np.float64]


def plate(count: int, seed: int = 0) -> Points:
    """Random points on a plate of 10 × 10."""
    points = np.random.default_rng(seed).uniform(0, 10, size=(count, 3))
    points[:, 2] = 0.0
    return points


def scored(points: Points, *spots: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """Scores of 0.1, and of the given height within each spot (x, y, radius, score)."""
    scores = np.full(len(points), 0.1, dtype=np.float32)
    for x, y, radius, score in spots:
        scores[np.hypot(points[:, 0] - x, points[:, 1] - y) < radius] = score
    return scores


def union_find(points: Points, reach: float) -> list[int]:
    """Components of points within reach, numbered by their first point, pair by pair."""
    parent = list(range(len(points)))

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for i in range(len(points)):
        for j in range(i):
            if np.linalg.norm(points[i] - points[j]) <= reach:
                parent[max(root(i), root(j))] = min(root(i), root(j))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(i), len(numbers)) for i in range(len(points))]


def slow_reach(points: Points) -> float:
    away = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)
    return 2.5 * float(np.median(away[:, 1:7]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.floats(0.3, 3.0))
def test_regions_equal_the_slow_union_find(seed: int, count: int, stretch: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3)) * (1.0, stretch, 0.2)
    points[: count // 2] += 3.0
    mask = rng.random(count) < 0.8
    mask[:2] = True
    labels = connected_regions(points, mask)
    assert (labels[~mask] == -1).all()
    assert labels[mask].tolist() == union_find(points[mask], slow_reach(points[mask]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 80), st.floats(0.02, 0.5))
def test_cells_link_exactly_the_points_within_reach(seed: int, count: int, reach: float) -> None:
    points = np.random.default_rng(seed).random((count, 3)) * (1.0, 1.0, 0.1)
    cells = linked_cells(points, reach)
    numbers: dict[int, int] = {}
    ordered = [numbers.setdefault(int(one), len(numbers)) for one in cells]
    assert ordered == union_find(points, reach)


def test_crowded_points_do_not_need_every_pair() -> None:
    rng = np.random.default_rng(0)
    crowd = rng.uniform(0, 0.01, size=(20_000, 3))
    points = np.concatenate([crowd, crowd + 1.0, rng.uniform(5, 9, size=(50, 3))])
    labels = connected_regions(points, np.ones(len(points), dtype=bool), reach=0.02)
    assert (labels[:20_000] == 0).all()
    assert (labels[20_000:40_000] == 1).all()
    assert labels.max() == 51


@pytest.mark.parametrize("marked", [0, 1, 2])
def test_hardly_any_marked_points(marked: int) -> None:
    mask = np.arange(10) < marked
    labels = connected_regions(plate(10), mask)
    assert (labels >= 0).tolist() == mask.tolist()


def test_regions_say_where_how_large_and_how_strong() -> None:
    points = plate(20_000)
    scan = Scan(points + np.array([500.0, 0.0, -20.0]))
    scores = scored(points, (2, 2, 1.0, 0.7), (8, 8, 0.5, 0.9))
    strong, weak = describe_regions(scan, scores, 0.5)
    assert strong.peak == strong.mean == pytest.approx(0.9)
    assert weak.peak == pytest.approx(0.7)
    assert np.allclose(strong.center, (508, 8, -20), atol=0.05)
    assert np.allclose(weak.extent, (2, 2, 0), atol=0.1)
    assert weak.size == pytest.approx(2 * np.sqrt(2), rel=0.05)
    assert strong.area_share == pytest.approx(np.pi * 0.25 / 100, rel=0.1)
    assert weak.area_share == pytest.approx(np.pi / 100, rel=0.1)
    assert weak.area == pytest.approx(np.pi, rel=0.1)
    assert weak.height == pytest.approx(0.0, abs=1e-9)
    assert weak.index.tolist() == np.flatnonzero(scores == np.float32(0.7)).tolist()


@pytest.mark.parametrize("count", [30_000, 300_000])
def test_uneven_density_does_not_bias_the_area(count: int) -> None:
    points = plate(count)
    dense = points[:, 0] < 5
    points = points[dense | (np.random.default_rng(1).random(count) < 0.1)]
    scores = scored(points, (2.5, 5, 1.5, 0.9), (7.5, 5, 1.5, 0.8))
    regions = describe_regions(Scan(points), scores, 0.5)
    assert len(regions) == 2
    for region in regions:
        assert region.area_share == pytest.approx(np.pi * 2.25 / 100, rel=0.12)


def test_areas_of_an_even_plate_add_up_to_its_own() -> None:
    areas, whole = point_areas(plate(5000), np.arange(5000))
    assert areas.sum() == pytest.approx(whole)
    assert whole == pytest.approx(100.0, rel=0.1)


def test_specks_are_dropped() -> None:
    points = plate(5000)
    scores = scored(points, (5, 5, 1.0, 0.9))
    scores[[0, 1, 2]] = 1.0
    (region,) = describe_regions(Scan(points), scores, 0.95, minimum_points=1)[:1]
    assert len(region.index) == 1
    assert [one.peak for one in describe_regions(Scan(points), scores, 0.5)] == [
        pytest.approx(1.0 if scores[region.index[0]] == 2 else 0.9)
    ]
    assert describe_regions(Scan(points), scores, 0.95) == ()


def test_scattered_points_are_no_region() -> None:
    points = plate(20_000)
    scores = np.zeros(20_000, dtype=np.float32)
    scores[np.random.default_rng(0).random(20_000) < 0.01] = 0.9
    assert describe_regions(Scan(points), scores, 0.5) == ()


def test_scores_that_are_not_finite_mark_nothing_and_their_number_must_fit() -> None:
    points = plate(500)
    assert describe_regions(Scan(points), np.full(500, np.nan, dtype=np.float32), 0.0) == ()
    with pytest.raises(ValueError, match=r"expected \(500,\)"):
        describe_regions(Scan(points), np.zeros(499, dtype=np.float32), 0.5)


def test_order_of_points_does_not_change_the_regions() -> None:
    points = plate(8000)
    scores = scored(points, (2, 2, 1.0, 0.7), (8, 8, 0.5, 0.9))
    order = np.random.default_rng(5).permutation(8000)
    before = describe_regions(Scan(points), scores, 0.5)
    after = describe_regions(Scan(points[order]), scores[order], 0.5)
    for one, other in zip(before, after, strict=True):
        assert one.index.tolist() == sorted(order[other.index].tolist())
        assert one.area_share == pytest.approx(other.area_share)


def test_very_many_marked_points_part_where_there_is_a_gap() -> None:
    points = plate(160_000)
    points[:80_000, 0] *= 0.1  # nine times as dense
    scores = np.where(np.abs(points[:, 1] - 4.0) < 0.3, 0.1, 0.9).astype(np.float32)
    assert (scores > 0.5).sum() > 140_000
    regions = describe_regions(Scan(points + 1e6), scores, 0.5)
    assert sorted(one.index.tolist() for one in regions) == sorted(
        np.flatnonzero((scores > 0.5) & side).tolist()
        for side in (points[:, 1] < 4, points[:, 1] > 4)
    )
    shares = sorted(one.area_share for one in regions)
    assert shares == pytest.approx([0.37, 0.57], rel=0.05)


@pytest.mark.parametrize("copies", [20, 300])
def test_points_that_share_their_places_hold_together(copies: int) -> None:
    points = np.repeat(plate(1000), copies, axis=0)
    scores = scored(points, (5, 5, 2.0, 0.9))
    (region,) = describe_regions(Scan(points), scores, 0.5)
    assert len(region.index) == (scores > 0.5).sum()
    assert region.area_share == pytest.approx(np.pi * 4 / 100, rel=0.2)


def test_one_crowded_place_does_not_stand_apart() -> None:
    points = np.concatenate([plate(20_000), np.full((40, 3), (5.0, 5.0, 0.0))])
    (region,) = describe_regions(Scan(points), scored(points, (5, 5, 1.0, 0.9)), 0.5)
    assert region.size == pytest.approx(2 * np.sqrt(2), rel=0.05)


def test_a_scan_in_one_place_is_one_region() -> None:
    (region,) = describe_regions(Scan(np.ones((50, 3))), np.ones(50, dtype=np.float32), 0.5)
    assert region.area_share == 1.0
    assert region.size == 0.0


def test_labelled_points_of_a_cloud_part_where_the_gap_is_wider_than_their_reach() -> None:
    points = plate(20_000)
    away = (points[:, 0] - 2) ** 2 + (points[:, 1] - 2) ** 2 < 1
    other = (points[:, 0] - 8) ** 2 + (points[:, 1] - 8) ** 2 < 1
    regions = label_regions(Scan(points, labels=away | other))
    assert (regions == connected_regions(points, away | other)).all()
    assert len(set(regions[away])) == len(set(regions[other])) == 1
    assert set(regions.tolist()) == {-1, 0, 1}


def test_labelled_cells_of_an_organised_scan_touch_over_corners_whatever_their_distance() -> None:
    picture = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 1]], dtype=bool)
    rows, columns = np.mgrid[:4, :4]
    points = np.stack([columns.ravel(), rows.ravel() * 50.0, np.zeros(16)], axis=1)
    scan = Scan(points, labels=picture.ravel(), grid=(4, 4))
    expected = [[0, -1, -1, 1], [-1, 0, -1, -1], [-1, -1, -1, 2], [3, -1, -1, 2]]
    assert label_regions(scan).reshape(4, 4).tolist() == expected


def test_cells_of_an_organised_scan_that_were_not_measured_part_regions() -> None:
    valid = np.array([True, True, False, True, True])
    points = np.zeros((4, 3))
    points[:, 0] = [0, 1, 3, 4]
    scan = Scan(points, labels=np.array([True, True, True, False]), grid=(1, 5), valid=valid)
    assert label_regions(scan).tolist() == [0, 0, 1, -1]


def test_labelled_points_that_share_their_places_are_in_one_region() -> None:
    points = np.repeat(plate(2000), 20, axis=0)
    labels = np.abs(points[:, 0] - 5) > 2
    regions = label_regions(Scan(points, labels=labels))
    assert (regions >= 0).tolist() == labels.tolist()
    assert regions.max() == 1


def test_a_good_scan_has_no_regions_and_one_without_labels_is_refused() -> None:
    points = plate(10)
    assert (label_regions(Scan(points, labels=np.zeros(10, dtype=bool))) == -1).all()
    with pytest.raises(ScanError, match="no labels"):
        label_regions(Scan(points))
