"""Voxel-grid thinning: fewer points of a dense scan, whatever the order they came in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroflaw.types import Float64, Int64

AIM = 0.93
ENOUGH = 0.85
TRIES = 16
FINEST = 2.0**-20
TABLE_CELLS = 1 << 24


@dataclass(frozen=True, eq=False)
class Thinned:
    """What is left of a scan: one point for each occupied cell of a grid.

    index: (K,) int64, the point nearest to its cell's mean. mean: (K, 3) float64, the mean of the
    cell's points, in the user's frame. count: (K,) int64, how many points the cell holds. cell:
    (N,) int64, which of the K cells each of the scan's points is in.
    """

    index: Int64
    mean: Float64
    count: Int64
    cell: Int64

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, eq=False)
class Grid:
    """The cubic cells of a scan that hold points.

    number: (K,) int64, their places in the grid, ascending, z running fastest. shape: how many
    cells the grid has along each axis. mean, count, cell: as in `Thinned`.
    """

    number: Int64
    shape: tuple[int, int, int]
    mean: Float64
    count: Int64
    cell: Int64


def thin(points: NDArray[Any], count: int) -> Thinned:
    """Return at most `count` points that stand for the scan, evenly spread over it.

    points: (N, 3), finite. The cells' size is chosen so that 0.85 to 1.0 of `count` are occupied;
    fewer are where no size gives so many: where the points have few distinct places, lie on a
    coarse lattice, or nearly all within a hundred-thousandth of the scan's extent. Cells come by
    their place in the grid; up to `count` points are all kept, by rising x, y and z. Permuting
    the points permutes nothing but the values of `index`: sums are exact, and ties go by
    coordinates. Raises ValueError where count is not positive.
    """
    exact = np.asarray(points, dtype=np.float64)
    if exact.ndim != 2 or exact.shape[1] != 3:
        raise ValueError(f"points have shape {exact.shape}, expected (N, 3)")
    if count < 1:
        raise ValueError(f"cannot thin to {count} points; count must be positive")
    if len(exact) <= count:
        index = np.lexsort(exact.T[::-1])
        cell = np.empty(len(index), dtype=np.int64)
        cell[index] = np.arange(len(index))
        return Thinned(index, exact[index], np.ones(len(index), dtype=np.int64), cell)
    columns, low = _from_corner(exact)
    grid = _grid(columns, count)
    index = _nearest_to_mean(columns, grid.cell, grid.mean.T)
    return Thinned(index, grid.mean + low, grid.count, grid.cell)


def gridded(points: NDArray[Any], count: int) -> Grid:
    """Return the cells of a grid of which at most `count` hold points, as in `thin`.

    points: (N, 3), finite, N ≥ 1. Nothing depends on the order of the points.
    """
    columns, low = _from_corner(np.asarray(points, dtype=np.float64))
    grid = _grid(columns, count)
    return replace(grid, mean=grid.mean + low)


def _from_corner(exact: Float64) -> tuple[Float64, Float64]:
    """Return points, (N, 3), as columns, (3, N), from the lowest corner of their box; and it."""
    columns = np.array(exact.T, order="C")
    low = columns.min(axis=1)
    columns -= low[:, None]
    return columns, low


def _grid(columns: Float64, count: int) -> Grid:
    """Return the cells of points, (3, N), none negative."""
    size = _fitting_size(columns, count)
    number, shape = _cells(columns, size)
    cell, occupied = _compact(number, math.prod(shape))
    held = np.bincount(cell, minlength=occupied)
    place = np.empty(occupied, dtype=np.int64)
    place[cell] = number
    return Grid(place, shape, _exact_means(columns, cell, held, size).T, held, cell)


def _fitting_size(columns: Float64, count: int) -> float:
    """Return the edge length of cells with which nearly `count` of them hold points.

    columns: (3, N), not negative. Steps along the line through the last two tries in a log-log
    plot, where the number of cells falls by the surface's dimension, within a shrinking bracket.
    """
    extent = float(columns.max())
    if extent == 0:
        return 1.0
    small, large = extent * FINEST, extent * 2
    best, most = large, 1
    size, dimension = 1.5 * extent / count**0.5, 2.0
    last: tuple[float, int] | None = None
    for _ in range(TRIES):
        number, shape = _cells(columns, size)
        occupied = _count_occupied(number, math.prod(shape))
        if most < occupied <= count:
            best, most = size, occupied
        if most >= ENOUGH * count or large <= small * 1.0001:
            break
        small, large = (size, large) if occupied > count else (small, size)
        if last is not None and occupied != last[1]:
            slope = np.log(last[1] / occupied) / np.log(size / last[0])
            dimension = float(np.clip(slope, 0.5, 3.0))
        last = (size, occupied)
        size *= (occupied / (AIM * count)) ** (1 / dimension)
        if not small * 1.0001 < size < large / 1.0001:
            size = (small * large) ** 0.5
    return best


def _cells(columns: Float64, size: float) -> tuple[NDArray[Any], tuple[int, int, int]]:
    """Return the number of each point's cell, z running fastest, and the grid's shape."""
    wide, high, deep = (int(column.max() / size) + 1 for column in columns)
    shape = wide, high, deep
    dtype = np.int32 if math.prod(shape) < 2**31 else np.int64
    number: NDArray[Any] = np.zeros(columns.shape[1], dtype=dtype)
    for column, cells in zip(columns, shape, strict=True):
        number *= cells
        number += (column / size).astype(dtype)
    return number, shape


def _count_occupied(number: NDArray[Any], total: int) -> int:
    """Return how many cells of the grid hold points."""
    if total > TABLE_CELLS:
        return len(np.unique(number))
    table = np.zeros(total, dtype=np.bool_)
    table[number] = True
    return int(np.count_nonzero(table))


def _compact(number: NDArray[Any], total: int) -> tuple[Int64, int]:
    """Return the rank of each point's cell among the occupied ones, and how many those are."""
    if total > TABLE_CELLS:
        unique, rank = np.unique(number, return_inverse=True)
        return rank, len(unique)
    table = np.zeros(total, dtype=np.bool_)
    table[number] = True
    occupied = np.flatnonzero(table)
    ranks = np.zeros(total, dtype=np.int32)
    ranks[occupied] = np.arange(len(occupied), dtype=np.int32)
    return np.take(ranks, number).astype(np.int64), len(occupied)


def _exact_means(columns: Float64, cell: Int64, number: Int64, size: float) -> Float64:
    """Return the (3, K) means of the cells' points, the same bit for bit in any order of points.

    Sums whole multiples of a tiny part of the cell, which float64 adds without rounding.
    """
    unit = size * 2.0 ** -(51 - int(np.ceil(np.log2(columns.shape[1]))))
    mean = np.empty((3, len(number)))
    for axis, column in enumerate(columns):
        corner = np.zeros(len(number))
        corner[cell] = np.floor(column / size) * size
        whole = np.rint((column - np.take(corner, cell)) / unit)
        mean[axis] = corner + np.bincount(cell, whole, len(number)) / number * unit
    return mean


def _nearest_to_mean(columns: Float64, cell: Int64, mean: Float64) -> Int64:
    """Return for each cell its point nearest to the mean; ties go to the lowest coordinates."""
    squared = np.zeros(len(cell))
    for column, middle in zip(columns, mean, strict=True):
        squared += (column - np.take(middle, cell)) ** 2
    least = np.full(mean.shape[1], np.inf)
    np.minimum.at(least, cell, squared)
    near = np.flatnonzero(squared == np.take(least, cell))
    x, y, z = columns[:, near]
    near = near[np.lexsort((z, y, x, cell[near]))]
    first: Int64 = near[np.flatnonzero(np.diff(cell[near], prepend=-1))]
    return first
