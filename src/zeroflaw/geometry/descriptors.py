"""The direction a surface faces, and how densely it was scanned."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from zeroflaw.geometry.eigen import smallest_eigenvectors
from zeroflaw.geometry.fpfh import fpfh
from zeroflaw.types import Float32, Float64, ScanError

__all__ = ["fpfh", "normals", "principal_normals", "spacing"]

_BLOCK = 8192  # points handled by one thread at a time
_SAMPLE = 20_000  # points that the median spacing is taken from


def normals(
    points: NDArray[Any], radius: float | None = None, k: int = 30, *, workers: int = -1
) -> Float32:
    """Unit normals of the surface, up to sign: `principal_normals` in single precision.

    points: (N, 3); radius: in the points' unit, None for no limit; k: at most so many nearest
    points, the point itself included; workers: threads, −1 for all. Returns (N, 3).
    """
    return principal_normals(points, radius, k, workers=workers).astype(np.float32)


def principal_normals(
    points: NDArray[Any], radius: float | None = None, k: int = 30, *, workers: int = -1
) -> Float64:
    """Directions in which each point's neighbourhood varies least, up to sign.

    points: (N, 3); radius: in the points' unit, None for no limit; k: at most so many nearest
    points, the point itself included; workers: threads, −1 for all. Returns (N, 3), unit length;
    (0, 0, 1) where fewer than three points are in reach. Sums run in order of distance and are not
    centred, as in Open3D, so that even its rounding, which decides histograms of coplanar
    neighbours, is met.
    """
    if k < 3:
        raise ValueError(f"k is {k}, but a normal needs at least 3 neighbours")
    position = np.ascontiguousarray(points, dtype=np.float64)
    if len(position) < 3:
        return np.tile([0.0, 0.0, 1.0], (len(position), 1))
    position = _near_origin(position)
    order = cKDTree(position).indices  # neighbours in space become neighbours in memory
    position = position[order]
    tree = cKDTree(position)
    table = moment_table(position)
    ranks = np.arange(1, min(k, len(position)) + 1)
    reach = np.inf if radius is None else radius

    def block(start: int) -> Float64:
        queries = position[start : start + _BLOCK]
        _, index = tree.query(queries, ranks, distance_upper_bound=reach)
        return principal(table, index)

    with ThreadPoolExecutor((os.cpu_count() or 1) if workers < 0 else max(1, workers)) as pool:
        found = np.concatenate(list(pool.map(block, range(0, len(position), _BLOCK))))
    result = np.empty_like(found)
    result[order] = found
    return result


def _near_origin(points: Float64) -> Float64:
    """The points, moved to the origin if they are so far from it that squares lose digits."""
    center = points.mean(axis=0)
    extent = np.ptp(points, axis=0).max()
    return points - center if np.abs(center).max() > extent else points


def moment_table(position: Float64) -> Float64:
    """Coordinates and their products, (N, 9), for `principal`. position: (N, 3)."""
    x, y, z = position.T
    return np.stack([x, y, z, x * x, x * y, x * z, y * y, y * z, z * z], axis=1)


def principal(table: Float64, index: NDArray[Any]) -> Float64:
    """Directions, (Q, 3), in which points vary least; see `principal_spread`."""
    return principal_spread(table, index)[0]


def principal_spread(table: Float64, index: NDArray[Any]) -> tuple[Float64, Float64]:
    """Directions, (Q, 3), in which points vary least, (0, 0, 1) where there are fewer than three.

    table: (N, 9), `moment_table` of the points; index: (Q, k), which to take, N for none. Also how
    little, (Q,): the least variance over the second least, from 0 on a plane to 1.
    """
    inside = index < len(table)
    count = inside.sum(axis=1)
    start = np.zeros(len(index) + 1, dtype=np.int64)
    np.cumsum(count, out=start[1:])
    chosen = index[inside]
    pick = csr_matrix((np.ones(len(chosen)), chosen, start), (len(index), len(table)))
    moment = np.ascontiguousarray((pick @ table).T) / np.maximum(count, 1)
    mean = moment[:3]
    covariance = moment[3:] - mean[[0, 0, 0, 1, 1, 2]] * mean[[0, 1, 2, 1, 2, 2]]
    values, vectors = smallest_eigenvectors(covariance)
    vectors[:, count < 3] = np.array([[0.0], [0.0], [1.0]])
    spread = values[0] / np.maximum(values[1], np.finfo(np.float64).tiny)
    return np.ascontiguousarray(vectors.T), spread


def spacing(points: NDArray[Any]) -> float:
    """Median distance from a point to its nearest neighbour, in the points' unit.

    points: (N, 3), N ≥ 2. Of a large scan an evenly spread part of the points is asked. Raises
    ScanError for fewer than two points.
    """
    if len(points) < 2:
        raise ScanError(
            None, f"{len(points)} points have no spacing", "give a scan of at least 2 points"
        )
    position = np.asarray(points, dtype=np.float64)
    queries = position[:: max(1, len(position) // _SAMPLE)]
    distance, _ = cKDTree(position, balanced_tree=False).query(queries, [2], workers=-1)
    return float(np.median(distance))
