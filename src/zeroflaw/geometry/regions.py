"""Connected regions of marked points, and what can be said of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from zeroflaw.geometry.area import point_areas
from zeroflaw.geometry.cells import gathered, joined, linked_cells, numbered
from zeroflaw.geometry.height import region_heights
from zeroflaw.types import Bool, Float32, Float64, Int64, Region, Scan, ScanError

NEIGHBORS = 6
REACH = 2.5  # an edge is at most so many times the median distance to the nearest neighbours
_LOCAL_NEIGHBORS = 12  # enough to hold an evenly scattered surface together
_MANY = 100_000  # above so many marked points, they are gathered in cells
_CELLS = 60_000  # that an even surface fills about one and a half times
_FULLEST = 3.0  # the area of a surface in a cell, in squares of its edge, is hardly ever more
_SAMPLE = 4_096  # points that tell whether many share their place
_PROBES = 20_000  # marked points that the area of all is estimated from
_PAIRS = 8_000_000  # above so many edges, points are first joined by cells
# On an evenly scattered surface the median distance to the 6 nearest neighbours is about that to
# the third or fourth, √(3.5 / π) times the square root of the area per point.
_SPACING_OF_AREA = np.sqrt(3.5 / np.pi)


def connected_regions(
    points: NDArray[Any], mask: Bool, reach: float | Float64 | None = None
) -> Int64:
    """Number the connected regions of the marked points, −1 for all other points.

    points: (N, 3); mask: (N,); reach: the longest edge between two points of a region, in the
    points' unit, by default 2.5 × the median distance of the marked points to their 6 nearest
    marked neighbours. With one reach per point, (N,), the longest edge is the geometric mean of its
    ends', and each point is joined to at most its 12 nearest. Returns (N,), regions numbered from 0
    in the order of their first point.
    """
    labels = np.full(len(points), -1, dtype=np.int64)
    inside = np.flatnonzero(mask)
    if len(inside) == 0:
        return labels
    marked = np.asarray(points, dtype=np.float64)[inside]
    tree = cKDTree(marked, balanced_tree=False)
    if isinstance(reach, np.ndarray):
        component = _locally_linked(tree, marked, reach[inside])
    else:
        longest = REACH * _neighbor_distance(tree, marked) if reach is None else float(reach)
        component = _linked(tree, marked, longest)
    labels[inside] = _in_order(component)
    return labels


def label_regions(scan: Scan) -> Int64:
    """Number the regions of a scan's anomalous points, (N,), −1 for normal points.

    In an organised scan anomalous cells touch over edges and corners; in any other, points are
    linked as by `connected_regions`, points at one place being one where most share theirs. Regions
    are numbered from 0 in the order of their first point. Raises ScanError without labels.
    """
    if scan.labels is None:
        raise ScanError(scan.source, "the points have no labels", "add the ground truth")
    inside = np.flatnonzero(scan.labels)
    labels = np.full(len(scan), -1, dtype=np.int64)
    if len(inside) == 0:
        return labels
    if scan.grid is not None:
        cells = np.arange(len(scan)) if scan.valid is None else np.flatnonzero(scan.valid)
        marked = np.zeros(scan.grid, dtype=np.bool_)
        marked.flat[cells[inside]] = True
        touching, _ = ndimage.label(marked, structure=np.ones((3, 3)))
        labels[inside] = _in_order(touching.flat[cells[inside]])
        return labels
    points = scan.points[inside]
    place, first = numbered(points)
    if 2 * len(first) > len(points):
        return connected_regions(scan.points, scan.labels)
    everywhere = np.ones(len(first), dtype=np.bool_)
    labels[inside] = _in_order(connected_regions(points[first], everywhere)[place])
    return labels


def _neighbor_distance(tree: cKDTree, marked: Float64) -> float:
    """Median distance of the points to their 6 nearest neighbours."""
    if len(marked) < 2:
        return 0.0
    ranks = np.arange(2, min(NEIGHBORS + 1, len(marked)) + 1)
    distance, _ = tree.query(marked, ranks, workers=-1)
    return float(np.median(distance))


def _linked(tree: cKDTree, marked: Float64, reach: float) -> Int64:
    """A component's number for each point, any two within reach being linked."""
    probe = marked[:: max(1, len(marked) // 256)]
    reached = tree.query_ball_point(probe, reach, return_length=True)
    if float(reached.mean()) * len(marked) / 2.0 > _PAIRS:
        return linked_cells(marked, reach)
    return joined(tree.query_pairs(reach, output_type="ndarray"), len(marked))


def _locally_linked(tree: cKDTree, marked: Float64, reach: Float64) -> Int64:
    """A component's number for each point, near points within their own reach being linked."""
    if len(marked) < 2:
        return np.zeros(len(marked), dtype=np.int64)
    ranks = np.arange(2, min(_LOCAL_NEIGHBORS + 1, len(marked)) + 1)
    distance, index = tree.query(marked, ranks, workers=-1)
    start, rank = np.nonzero(distance**2 <= reach[:, None] * reach[index])
    return joined(np.stack([start, index[start, rank]], axis=1), len(marked))


def _in_order(component: Int64) -> Int64:
    """The same partition, numbered by each part's first member."""
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def smallest_region(count: int) -> int:
    """How many points of a scan of `count` points make a region at least."""
    return max(6, round(float(np.sqrt(count)) / 20.0))


def describe_regions(
    scan: Scan,
    point_scores: Float32,
    threshold: float,
    minimum_points: int | None = None,
    away: Callable[[Int64], float] | None = None,
) -> tuple[Region, ...]:
    """The connected regions whose points score at least the threshold, strongest first.

    point_scores: (N,), a score that is not finite marks nothing; minimum_points: smaller regions
    are dropped, by default 6 or √N / 20 points, whichever is more. Points belong together within
    2.5 × the spacing of the scan around them. Strongest is the highest peak, then the largest sum
    of scores over the area. A region's area weighs each point by the local area per point, so that
    uneven density does not bias it; for its height and for away see `region_heights`.
    """
    scores = np.asarray(point_scores)
    if scores.shape != (len(scan),):
        raise ValueError(f"point scores have shape {scores.shape}, expected ({len(scan)},)")
    if minimum_points is None:
        minimum_points = smallest_region(len(scan))
    mask = np.isfinite(scores) & (scores >= threshold)
    inside = np.flatnonzero(mask)
    if len(inside) < max(minimum_points, 1):
        return ()
    labels, shares, surface = _parts(scan.points, inside)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    regions = [
        _describe(scan, scores, inside[members], shares[members], surface)
        for members in np.split(order, starts[1:])
        if len(members) >= minimum_points
    ]
    regions.sort(key=strength, reverse=True)
    index, areas = [one.index for one in regions], [one.area or 0.0 for one in regions]
    heights = region_heights(scan, index, areas, away)
    return tuple(replace(one, height=h) for one, h in zip(regions, heights, strict=True))


def strength(region: Region) -> tuple[float, float]:
    """By which regions are sorted: the peak, then the sum of scores over the area."""
    return region.peak, region.mean * region.area_share


def _parts(
    points: Float64, inside: Int64, *, distinct: bool = False
) -> tuple[Int64, Float64, float]:
    """The region of each marked point, its share of the surface, (K,), and the whole surface.

    inside: (K,) indices; distinct: whether the points are known to lie at different places.
    """
    if not distinct and _crowded(points):
        return _by_places(points, inside)
    if len(inside) > _MANY:
        return _by_cells(points, inside)
    areas, surface = point_areas(points, inside)
    if not (distinct or areas.all()):
        return _by_places(points, inside)
    shares = areas / surface if surface > 0.0 else np.full(len(inside), 1.0 / len(points))
    reach = REACH * _SPACING_OF_AREA * np.sqrt(areas)
    everywhere = np.ones(len(inside), dtype=np.bool_)
    return connected_regions(points[inside], everywhere, reach), shares, surface


def _crowded(points: Float64) -> bool:
    """Whether many points share their place: no tree of points can tell those apart."""
    few = points
    if len(points) > _SAMPLE:
        few = points[np.random.default_rng(0).choice(len(points), _SAMPLE, replace=False)]
    return len(few) - len(np.unique(few, axis=0)) > len(few) / 256


def _by_places(points: Float64, inside: Int64) -> tuple[Int64, Float64, float]:
    """The same where many points lie at one place: they are one, and divide its share."""
    place, first = numbered(points)
    marked, own = np.unique(place[inside], return_inverse=True)
    labels, shares, surface = _parts(points[first], marked, distinct=True)
    return labels[own], (shares / np.bincount(own))[own], surface


def _by_cells(points: Float64, inside: Int64) -> tuple[Int64, Float64, float]:
    """The same for very many marked points, joined where their cells' means are within reach.

    A gap narrower than 2.5 cells, about a hundredth of what the marked points extend over, may be
    bridged. Each cell takes the area per point from one of its points.
    """
    marked = points[inside]
    probes = np.random.default_rng(0).choice(inside, _PROBES, replace=False)
    covered = float(point_areas(points, probes)[0].mean()) * len(inside)
    cell, first, edge = gathered(marked, np.sqrt(covered / _CELLS), 2 * _CELLS)
    count = np.bincount(cell)
    means = np.stack([np.bincount(cell, axis) for axis in marked.T], axis=1) / count[:, None]
    areas, surface = point_areas(points, inside[first])
    held = np.minimum(areas * count, np.maximum(areas, _FULLEST * edge**2))
    shares = held / count / surface
    reach = REACH * np.maximum(_SPACING_OF_AREA * np.sqrt(areas), edge)
    return _locally_linked(cKDTree(means), means, reach)[cell], shares[cell], surface


def _describe(
    scan: Scan, scores: NDArray[Any], index: Int64, shares: Float64, surface: float
) -> Region:
    points = scan.points[index]
    low, high = points.min(axis=0), points.max(axis=0)
    share = float(min(shares.sum(), 1.0))
    return Region(
        index=index,
        center=(low + high) / 2.0,
        extent=high - low,
        size=float(np.linalg.norm(high - low)),
        area_share=share,
        peak=float(scores[index].max()),
        mean=float(scores[index].mean(dtype=np.float64)),
        area=share * surface,
    )
