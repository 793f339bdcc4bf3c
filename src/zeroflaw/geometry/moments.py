"""Dense local descriptors: what a surface looks like around each point, at several sizes.

Every number comes from sums over neighbourhoods (of coordinates, their products, normals and their
products), so that one sparse matrix product per scale does the work. Wide neighbourhoods are made
of cells: each cell carries the sums of the points nearest to its reference point, hence a wide
scale averages over all of its points at the cost of a few.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from zeroflaw.geometry.eigen import smallest_eigenvectors
from zeroflaw.geometry.orient import orientation
from zeroflaw.types import Float32, Float64, Int64, ScanError

SCALES = (12, 32, 96, 256)
_DENSE = 48  # up to this many neighbours come from the points themselves
_CELLS = 32  # the widest neighbourhood is made of this many cells
_ORIENTED = 1500  # about so many reference points carry the signs of the normals
_TINY = 1e-30

_PER_SCALE = (
    "roughness",
    "anisotropy",
    "linearity",
    "planarity",
    "offset",
    "absolute_offset",
    "tangential_offset",
    "residual",
    "normal_spread",
    "normal_agreement",
    "bending",
)
_BETWEEN_SCALES = ("step", "roughness_change", "bending_change", "normal_change")


def descriptor_names(scales: tuple[int, ...] = SCALES) -> tuple[str, ...]:
    """Names of the columns that `local_descriptors` returns for these scales."""
    own = [f"{name}_{scale}" for scale in scales for name in _PER_SCALE]
    between = [
        f"{name}_{near}_{wide}" for near, wide in pairwise(scales) for name in _BETWEEN_SCALES
    ]
    return (*own, *between)


DESCRIPTOR_NAMES = descriptor_names()


@dataclass(frozen=True, eq=False)
class _Level:
    """Cells over the points, and for each scale which cells make up a point's neighbourhood."""

    cell: Int64 | None
    size: Float64
    neighborhoods: dict[int, csr_matrix]

    def sums(self, table: Float64) -> Float64:
        """Sums over the points of each cell. table: (N, C). Returns (K, C)."""
        if self.cell is None:
            return table
        ones = np.ones(len(table))
        by_cell = csr_matrix(
            (ones, (self.cell, np.arange(len(table)))), shape=(len(self.size), len(table))
        )
        return np.asarray(by_cell @ table)


@dataclass(frozen=True, eq=False)
class _Neighborhood:
    """One scale's first and second moments around each point, all (…, N)."""

    mean: Float64
    values: Float64
    normal: Float64
    weight: Float64
    radius: Float64


def local_descriptors(
    points: Float32 | Float64, scales: tuple[int, ...] = SCALES, *, workers: int = 1
) -> tuple[Float32, Float32]:
    """Normals and descriptors of each point that turning, moving or scaling does not change.

    points: (N, 3), N ≥ 4; scales: ascending numbers of points per neighbourhood; workers: threads
    of the neighbour search. Returns (N, 3) float32 unit normals, consistently signed and outward
    where outward can be told, and (N, F) float32, F = `len(descriptor_names(scales))`. The order
    of the points does not matter beyond rounding, but for points at exactly equal distances from
    the mean of all: put those in a canonical order first (see `geometry.sample.thin`).

    Raises ScanError for fewer than four points.
    """
    if len(points) < 4:
        raise ScanError(
            None, f"{len(points)} points have no neighbourhoods", "give a scan of at least 4 points"
        )
    centered = np.asarray(points, dtype=np.float64)
    centered = centered - centered.mean(axis=0)
    centered /= max(float(np.sqrt(np.mean(centered**2))), _TINY)
    levels = _levels(centered, scales, workers)
    around = _moments(centered, levels)
    fine = scales[min(1, len(scales) - 1)]
    normals = np.ascontiguousarray(around[fine].normal.T)
    normals *= _signs(centered, normals, levels[0], scales[0])[:, None]
    for neighborhood in around.values():
        neighborhood.normal[:] *= _agreement(neighborhood.normal.T, normals)
    sums = _normal_moments(centered, normals, levels)
    position, own = np.ascontiguousarray(centered.T), np.ascontiguousarray(normals.T)
    features = _features(position, own, around, sums, scales)
    return normals.astype(np.float32), np.ascontiguousarray(features.T, dtype=np.float32)


def _by_distance(points: Float64, stride: int) -> Int64:
    """Every stride-th point in order of distance from the origin: a pick that no order changes."""
    order = np.argsort(np.einsum("ij,ij->i", points, points), kind="stable")
    return np.sort(order[stride // 2 :: stride]) if len(order) > stride else order


def _levels(points: Float64, scales: tuple[int, ...], workers: int) -> tuple[_Level, ...]:
    """The points themselves for small scales, and coarse cells for the wide ones."""
    dense = [scale for scale in scales if scale <= _DENSE]
    wide = [scale for scale in scales if scale > _DENSE]
    levels = []
    if dense:
        counts = {scale: min(scale, len(points)) for scale in dense}
        index = _nearest(points, points, max(counts.values()), workers)
        matrices = _matrices(index, counts, len(points))
        levels.append(_Level(None, np.ones(len(points)), matrices))
    if wide:
        stride = max(1, wide[-1] // _CELLS)
        reference = _by_distance(points, stride)
        counts = {scale: min(round(scale / stride), len(reference)) for scale in wide}
        index = _nearest(points[reference], points, max(counts.values()), workers)
        cell = index[:, 0].copy()
        size = np.bincount(cell, minlength=len(reference)).astype(np.float64)
        levels.append(_Level(cell, size, _matrices(index, counts, len(reference))))
    return tuple(levels)


def _nearest(points: Float64, queries: Float64, count: int, workers: int) -> Int64:
    _, index = cKDTree(points, leafsize=24).query(queries, np.arange(1, count + 1), workers=workers)
    return np.asarray(index)


def _matrices(index: Int64, counts: dict[int, int], cells: int) -> dict[int, csr_matrix]:
    """Sparse 0/1 matrices that sum a table of cells over the nearest cells of each point."""
    matrices = {}
    for scale, count in counts.items():
        chosen = np.ascontiguousarray(index[:, :count], dtype=np.int32).ravel()
        start = np.arange(0, len(chosen) + 1, count, dtype=np.int32)
        matrices[scale] = csr_matrix((np.ones(len(chosen)), chosen, start), (len(index), cells))
    return matrices


def _moments(points: Float64, levels: tuple[_Level, ...]) -> dict[int, _Neighborhood]:
    """Mean, principal variances and normal of each point's neighbourhood at each scale."""
    x, y, z = points.T
    table = np.stack([x, y, z, x * x, x * y, x * z, y * y, y * z, z * z], axis=1)
    found = {}
    for level in levels:
        sums = level.sums(table)
        for scale, matrix in level.neighborhoods.items():
            weight = np.maximum(matrix @ level.size, 1.0)
            moment = np.ascontiguousarray((matrix @ sums).T) / weight
            mean = moment[:3]
            products = mean[[0, 0, 0, 1, 1, 2]] * mean[[0, 1, 2, 1, 2, 2]]
            values, normal = smallest_eigenvectors(moment[3:] - products)
            radius = np.sqrt(np.maximum(values.sum(axis=0), _TINY))
            found[scale] = _Neighborhood(mean, values, normal, weight, radius)
    return found


def _signs(points: Float64, normals: Float64, level: _Level, scale: int) -> Float64:
    """Signs that make the normals consistent, spread from a coarse subset. Returns (N,)."""
    reference = _by_distance(points, max(1, len(points) // _ORIENTED))
    oriented = normals[reference] * orientation(points[reference], normals[reference])[:, None]
    _, index = cKDTree(points[reference]).query(points, np.arange(1, min(3, len(reference)) + 1))
    signs = _agreement(normals, oriented[index].sum(axis=1))
    # A point near an edge may have got its sign from the other face: let its neighbours vote.
    signed = normals * signs[:, None]
    return signs * _agreement(signed, level.neighborhoods[scale] @ level.sums(signed))


def _agreement(normals: Float64, others: Float64) -> Float64:
    return np.where(np.einsum("ij,ij->i", normals, others) < 0.0, -1.0, 1.0)


def _normal_moments(
    points: Float64, normals: Float64, levels: tuple[_Level, ...]
) -> dict[int, Float64]:
    """Sums of normals, of their products, and of normal times position, (10, N) at each scale."""
    x, y, z = normals.T
    along = np.einsum("ij,ij->i", points, normals)
    table = np.stack([x, y, z, x * x, x * y, x * z, y * y, y * z, z * z, along], axis=1)
    found = {}
    for level in levels:
        sums = level.sums(table)
        for scale, matrix in level.neighborhoods.items():
            found[scale] = np.ascontiguousarray((matrix @ sums).T)
    return found


def _own_features(points: Float64, own: Float64, around: _Neighborhood, sums: Float64) -> Float64:
    """One scale's columns, in the order of `_PER_SCALE`. points, own: (3, N). Returns (11, N)."""
    smallest, middle, largest = around.values
    total = around.radius**2
    linear = np.maximum(largest, _TINY)
    offset = points - around.mean
    height = np.einsum("in,in->n", offset, around.normal)
    beside = np.einsum("in,in->n", offset - height * around.normal, offset)
    tangential = np.sqrt(np.maximum(beside, 0.0))  # rounding takes it below 0 on lattices
    moment = sums / around.weight
    x, y, z = own
    xx, xy, xz, yy, yz, zz = moment[3:9]
    same = xx * x * x + yy * y * y + zz * z * z + 2.0 * (xy * x * y + xz * x * z + yz * y * z)
    bending = moment[9] - np.einsum("in,in->n", moment[:3], around.mean)
    return np.stack(
        [
            np.sqrt(smallest / total),
            np.sqrt(middle / total),
            (largest - middle) / linear,
            (middle - smallest) / linear,
            height / around.radius,
            np.abs(height) / around.radius,
            tangential / around.radius,
            height / (np.sqrt(smallest) + 1e-3 * around.radius),
            np.sqrt(np.clip(1.0 - same, 0.0, 1.0)),
            np.einsum("in,in->n", moment[:3], own),
            bending / around.radius,
        ]
    )


def _features(
    points: Float64,
    own: Float64,
    around: dict[int, _Neighborhood],
    sums: dict[int, Float64],
    scales: tuple[int, ...],
) -> Float64:
    """All columns, in the order of `descriptor_names`. points, own: (3, N). Returns (F, N)."""
    widest = around[scales[-1]].normal
    blocks = [_own_features(points, own, around[scale], sums[scale]) for scale in scales]
    roughness, bending = _PER_SCALE.index("roughness"), _PER_SCALE.index("bending")
    between = []
    for step, (near, wide) in enumerate(pairwise(scales)):
        across = np.einsum("in,in->n", around[near].normal, widest)
        shift = around[near].mean - around[wide].mean
        between += [
            np.einsum("in,in->n", shift, around[wide].normal) / around[wide].radius,
            blocks[step + 1][roughness] - blocks[step][roughness],
            blocks[step + 1][bending] - blocks[step][bending],
            np.sqrt(np.clip(1.0 - across * across, 0.0, 1.0)),
        ]
    return np.concatenate([*blocks, np.stack(between)] if between else blocks)
