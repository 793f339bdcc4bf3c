"""How far a region of a surface lies from the surface around it: the depth of a dent, with sign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from zeroflaw.geometry.eigen import smallest_eigenvectors
from zeroflaw.geometry.outward import Surroundings
from zeroflaw.types import Bool, Float64, Int64, Scan

PICKED = 1_200  # points of a region, and of what is around it, that are looked at
FEWEST = 24  # points of a ring that a surface is fitted to
WIDTH = 1.0  # of a ring, in radii of the region's area
SPACINGS = 4.0  # of the points, that a ring is wide at least
NEIGHBORS = 8  # that a point is linked to
STEEP = 0.6  # sine of the steepest link: steeper ones lead through a wall to its other side
DETOUR = 1.2  # by how much paths from point to point are longer than the way
WIDEST_GAP = np.pi  # without a point of the ring, as seen from the region
ROUNDS = 8  # of fitting with weights
CLIP = 4.0  # deviations, beyond which a point of the ring counts for nothing
CLEARLY_LESS = 0.5  # share of the larger extreme, below which the other one is no rival
EXTREME = 0.95  # quantile of the heights that is the region's


@dataclass(frozen=True, eq=False)
class _Place:
    """Points around a region. index: (P,) in the scan; points: (P, 3); own: (P,), the region's."""

    index: Int64
    points: Float64
    own: Bool


def region_heights(
    scan: Scan,
    regions: Sequence[Int64],
    areas: Sequence[float],
    away: Callable[[Int64], float] | None = None,
) -> list[float | None]:
    """How far each region lies at most from the surface around it, with sign, in the scan's unit.

    regions: indices of each one's points, no two of which share a point; areas: of each. A
    quadratic surface is fitted, robustly, to a ring around the region, as wide as the radius of a
    disc of its area: points that a way along the surface connects to it, so that the other side of
    a thin wall stays out. The height is the 95 % quantile of the distances from that surface over
    the region's points, on the side where it is larger, or on that of away unless it is less than
    half there: a region may reach beyond its defect, over an edge. It is positive outside the
    material (see `Surroundings.outside`) and negative for a dent. Where the scan does not tell the
    outside, it has the sign of away: a function of a region's points, positive if a detector takes
    them to lie outside the good surface; without one it is positive either way. None where the
    ring has too few points, or half of it or more is missing: at an edge of the part or of what the
    sensor saw, on a piece that is loose.
    """
    if not regions:
        return []
    columns = np.ascontiguousarray(scan.points.T)
    marked = np.zeros(len(scan), dtype=np.bool_)
    for region in regions:
        marked[region] = True
    surroundings = Surroundings.of(scan)
    return [
        _signed(
            _height(_place(columns, marked, region, area), _width(area, len(region)), surroundings),
            0.0 if away is None else away(region),
        )
        for region, area in zip(regions, areas, strict=True)
    ]


def _signed(found: tuple[float, float, int] | None, away: float) -> float | None:
    """The height from both extremes along an axis, and the side of it that is outside, 0 unknown.

    away: positive where a detector takes the region to lie outside the good surface.
    """
    if found is None:
        return None
    low, high, side = found
    largest = high if abs(high) >= abs(low) else low
    if side == 0:
        return -abs(largest) if away < 0 else abs(largest)
    favoured = (max if away > 0 else min)(side * low, side * high)
    agrees = favoured * away > 0 and abs(favoured) >= CLEARLY_LESS * abs(largest)
    return favoured if agrees else side * largest


def _place(columns: Float64, marked: Bool, region: Int64, area: float) -> _Place:
    """Some of a region's points and of the unmarked ones around, evenly picked. columns: (3, N)."""
    own = columns[:, region]
    reach = DETOUR * _width(area, len(region))
    low, high = own.min(axis=1) - reach, own.max(axis=1) + reach
    x = columns[0]
    near = np.flatnonzero((x >= low[0]) & (x <= high[0]) & ~marked)
    for axis in (1, 2):
        value = columns[axis, near]
        near = near[(value >= low[axis]) & (value <= high[axis])]
    inside, outside = _picked(region), _picked(near)
    index = np.concatenate([inside, outside])
    return _Place(index, columns[:, index].T, np.arange(len(index)) < len(inside))


def _picked(index: Int64) -> Int64:
    if len(index) <= PICKED:
        return index
    return index[np.linspace(0, len(index) - 1, PICKED).astype(np.int64)]


def _width(area: float, count: int) -> float:
    """Of the ring around a region of so many points."""
    return max(WIDTH * float(np.sqrt(area / np.pi)), SPACINGS * float(np.sqrt(area / count)))


def _height(
    place: _Place, width: float, surroundings: Surroundings
) -> tuple[float, float, int] | None:
    """The lowest and the highest distance along an axis, and which way of it is outside."""
    own, ring = _sheet(place, width)
    if len(own) == 0 or len(ring) < FEWEST:
        return None
    middle = place.points[own].mean(axis=0)
    own_points, ring_points = place.points[own] - middle, place.points[ring] - middle
    scale = float(np.linalg.norm(ring_points, axis=1).max())
    if scale == 0.0:
        return None
    axes = np.linalg.svd((ring_points - ring_points.mean(axis=0)) / scale, full_matrices=False)[2]
    inside, around = own_points @ axes.T / scale, ring_points @ axes.T / scale
    angle = np.sort(np.arctan2(around[:, 1], around[:, 0]))
    if np.diff(angle, append=angle[0] + 2 * np.pi).max() >= WIDEST_GAP:
        return None
    surface = _fitted(around)
    low, high = np.quantile(_above(inside, surface), (1 - EXTREME, EXTREME)) * scale
    foot = middle + surface[0] * scale * axes[2]
    sign = surroundings.outside(foot, axes[2], place.index[np.concatenate([own, ring])])
    return float(low), float(high), sign


def _sheet(place: _Place, width: float) -> tuple[Int64, Int64]:
    """The largest piece of the region on one sheet, and its ring: what ways of `width` lead to."""
    points, count = place.points - place.points.mean(axis=0), len(place.points)
    nearest = min(NEIGHBORS, count - 1)
    distance, index = cKDTree(points).query(points, np.arange(2, nearest + 2))
    normals = _normals(points, index)
    start, end = np.repeat(np.arange(count), nearest), index.ravel()
    length = np.maximum(distance.ravel(), 1e-12 * width)  # a length of 0 would be no link
    along = points[end] - points[start]
    steep = np.maximum(
        np.abs(np.einsum("ij,ij->i", along, normals[start])),
        np.abs(np.einsum("ij,ij->i", along, normals[end])),
    )
    kept = steep <= STEEP * length
    graph = csr_matrix((length[kept], (start[kept], end[kept])), shape=(count, count))
    inside = np.flatnonzero(place.own)
    piece = connected_components(graph[inside][:, inside], directed=False)[1]
    own = inside[piece == np.bincount(piece).argmax()]
    way = dijkstra(graph, directed=False, indices=own, min_only=True, limit=DETOUR * width)
    return own, np.flatnonzero(np.isfinite(way) & ~place.own)


def _normals(points: Float64, index: Int64) -> Float64:
    """Unit normals, of either sign, from each point's neighbours (P, K). Returns (P, 3)."""
    offset = points[index] - points[index].mean(axis=1, keepdims=True)
    x, y, z = np.moveaxis(offset, 2, 0)
    products = (x * x, x * y, x * z, y * y, y * z, z * z)
    moments = np.stack([product.mean(axis=1) for product in products])
    return np.asarray(smallest_eigenvectors(moments)[1].T)


def _fitted(ring: Float64) -> Float64:
    """Coefficients (6,) of z over 1, x, y, x², xy, y², fitted to (R, 3) with Tukey's weights."""
    terms, z = _terms(ring), ring[:, 2]
    weight = np.ones(len(ring))
    found: Float64 = np.zeros(terms.shape[1])
    for _ in range(ROUNDS):
        root = np.sqrt(weight)
        found = np.asarray(np.linalg.lstsq(terms * root[:, None], z * root, rcond=1e-9)[0])
        off = np.abs(z - terms @ found)
        deviation = 1.4826 * float(np.median(off)) + 1e-9
        weight = np.maximum(1 - (off / (CLIP * deviation)) ** 2, 0.0) ** 2
    return found


def _terms(points: Float64) -> Float64:
    x, y = points[:, 0], points[:, 1]
    return np.stack([np.ones(len(x)), x, y, x * x, x * y, y * y], axis=1)


def _above(points: Float64, surface: Float64) -> Float64:
    """Distances of points (K, 3) from the surface along its own normal there, to first order."""
    x, y = points[:, 0], points[:, 1]
    across = surface[1] + 2 * surface[3] * x + surface[4] * y
    along = surface[2] + surface[4] * x + 2 * surface[5] * y
    return np.asarray((points[:, 2] - _terms(points) @ surface) / np.sqrt(1 + across**2 + along**2))
