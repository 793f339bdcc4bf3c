"""Fast point feature histograms: 33 numbers that say how the surface bends around each point.

Source: Rusu, Blodow and Beetz, "Fast point feature histograms (FPFH) for 3D registration", ICRA
2009. Bins, weights and normalisation are those of Open3D's `compute_fpfh_feature`.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from zeroflaw.types import Float32, Float64

_BINS = 11
_BLOCK = 2048  # points whose neighbours are sought at once
_PAIRS = 12288  # pairs whose intermediate values fit in a core's cache
# Below this difference arccos, by which the reference compares two angles, sees none.
_SAME_ANGLE = 1.2e-16

Int32 = NDArray[np.int32]


def fpfh(
    points: NDArray[Any],
    normals: NDArray[Any],
    radius: float,
    max_neighbors: int = 100,
    *,
    workers: int = -1,
) -> Float32:
    """Histograms of the angles between each point's normal and its neighbours'.

    points: (N, 3), in any unit; normals: (N, 3), unit length; radius: in the points' unit;
    max_neighbors: the nearest so many within the radius count, the point itself included; workers:
    threads, −1 for all. Returns (N, 33): 11 bins each of the angles θ, α and φ, each third adding
    up to 200; all zero for a point without neighbours.
    """
    if len(points) != len(normals):
        raise ValueError(f"{len(points)} points but {len(normals)} normals")
    if len(points) == 0:
        return np.zeros((0, 3 * _BINS), dtype=np.float32)
    position = np.ascontiguousarray(points, dtype=np.float64)
    tree = cKDTree(position)
    order = tree.indices  # neighbours in space become neighbours in memory
    position = position[order]
    columns = np.ascontiguousarray(position.T)
    directions = np.ascontiguousarray(np.asarray(normals, dtype=np.float64)[order].T)
    tree = cKDTree(position)
    starts = range(0, len(points), _BLOCK)
    threads = (os.cpu_count() or 1) if workers < 0 else max(1, workers)

    def simple(start: int) -> tuple[_Neighbors, Float32]:
        found = _neighbors(tree, position[start : start + _BLOCK], radius, max_neighbors)
        return found, _simplified(columns, directions, start, found)

    with ThreadPoolExecutor(threads) as pool:
        blocks = list(pool.map(simple, starts))
        histograms = np.concatenate([histogram for _, histogram in blocks])
        mixed = pool.map(lambda block: _weighted(block[0], histograms), blocks)
        sums = np.concatenate(list(mixed))
    result = np.empty_like(histograms)
    result[order] = histograms + sums
    return result


@dataclass(frozen=True, eq=False)
class _Neighbors:
    """Neighbours of a block of points, row by row: where rows start, which points, how far."""

    start: Int32
    index: Int32
    distance: Float64


def _neighbors(tree: cKDTree, queries: Float64, radius: float, count: int) -> _Neighbors:
    """All but the nearest of the `count` nearest within the radius: the nearest is the query."""
    ranks = np.arange(2, max(min(count, tree.n), 1) + 1)
    if len(ranks) == 0:
        empty = np.zeros(0)
        return _Neighbors(np.zeros(len(queries) + 1, np.int32), empty.astype(np.int32), empty)
    distance, index = tree.query(queries, ranks, distance_upper_bound=radius)
    inside = index < tree.n
    start = np.zeros(len(queries) + 1, dtype=np.int32)
    np.cumsum(inside.sum(axis=1), out=start[1:])
    if start[-1] == inside.size:
        return _Neighbors(start, index.ravel().astype(np.int32), distance.ravel())
    return _Neighbors(start, index[inside].astype(np.int32), distance[inside])


def _simplified(points: Float64, normals: Float64, first: int, neighbors: _Neighbors) -> Float32:
    """Each point's own histogram, 100 per third (the paper's SPFH). points, normals: (3, N)."""
    rows = len(neighbors.start) - 1
    degree = np.diff(neighbors.start)
    counts = np.zeros((rows, 3, _BINS))
    begin = 0
    while begin < rows:
        reach = np.searchsorted(neighbors.start, neighbors.start[begin] + _PAIRS, side="right") - 1
        end = min(max(int(reach), begin + 1), rows)
        part = slice(neighbors.start[begin], neighbors.start[end])
        local = np.repeat(np.arange(end - begin), degree[begin:end])
        angles = _pair_bins(
            points,
            normals,
            local + (first + begin),
            neighbors.index[part],
            neighbors.distance[part],
        )
        local *= _BINS
        for third, bins in enumerate(angles):
            bins += local
            histogram = np.bincount(bins, minlength=(end - begin) * _BINS)
            counts[begin:end, third] = histogram.reshape(-1, _BINS)
        begin = end
    counts *= (100.0 / np.maximum(degree, 1))[:, None, None]
    return counts.reshape(rows, 3 * _BINS).astype(np.float32)


def _pair_bins(
    points: Float64, normals: Float64, source: Any, target: Any, distance: Float64
) -> tuple[Any, Any, Any]:
    """Bins, 0 to 10, of the angles θ, α and φ of each pair of points, (P,) each.

    The frame stands on whichever point's normal makes the smaller angle with the line between the
    two. Written with the sines and cosines that both choices share, nothing has to be swapped but
    the two cosines.
    """
    inverse = 1.0 / np.where(distance > 0.0, distance, 1.0)
    dx, dy, dz = (axis[target] - axis[source] for axis in points)
    ax, ay, az = (axis[source] for axis in normals)
    bx, by, bz = (axis[target] for axis in normals)
    first = (ax * dx + ay * dy + az * dz) * inverse
    second = (bx * dx + by * dy + bz * dz) * inverse
    between = ax * bx + ay * by + az * bz
    twist = (
        dx * (ay * bz - az * by) + dy * (az * bx - ax * bz) + dz * (ax * by - ay * bx)
    ) * inverse
    swap = np.abs(second) - np.abs(first) > _SAME_ANGLE
    phi = np.where(swap, -second, first)
    other = np.where(swap, -first, second)
    sine = np.sqrt(np.maximum(1.0 - phi * phi, 0.0))
    flat = (sine < 1e-12) | (distance <= 0.0)  # no frame: the reference takes all angles as 0
    sine[flat] = 1.0
    alpha = twist / sine
    theta = np.arctan2((other - phi * between) / sine, between)
    for angle in (theta, alpha, phi):
        angle[flat] = 0.0
    return (
        _bin((theta + np.pi) * (_BINS / (2.0 * np.pi))),
        _bin((alpha + 1.0) * (_BINS / 2.0)),
        _bin((phi + 1.0) * (_BINS / 2.0)),
    )


def _bin(value: Float64) -> Any:
    return np.clip(value, 0.0, _BINS - 1.0).astype(np.int64)


def _weighted(neighbors: _Neighbors, histograms: Float32) -> Float32:
    """Neighbours' histograms, weighted by 1 / distance², 100 per third. Returns (rows, 33)."""
    squared = neighbors.distance**2
    weight = np.divide(1.0, squared, out=np.zeros_like(squared), where=squared > 0.0)
    rows = len(neighbors.start) - 1
    matrix = csr_matrix(
        (weight.astype(np.float32), neighbors.index, neighbors.start), (rows, len(histograms))
    )
    sums = np.asarray(matrix @ histograms).reshape(rows, 3, _BINS)
    total = sums.sum(axis=2, keepdims=True)
    sums *= np.divide(100.0, total, out=np.zeros_like(total), where=total > 0.0)
    return sums.reshape(rows, 3 * _BINS)
