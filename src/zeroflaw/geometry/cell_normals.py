"""Normals of a scan on a grid, from the cells around each: no search, and no order of points."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zeroflaw.geometry.descriptors import moment_table, normals, principal
from zeroflaw.geometry.thin import TABLE_CELLS, Grid
from zeroflaw.types import Float32, Float64, Int64

WITHIN = 6  # squared distance of the cells that count, in cells: 21 of them on a flat surface
LEAST = 16  # of these; where fewer hold points, neighbours are searched for
NEAREST = 30  # neighbours of a cell among few others
_BLOCK = 8192  # cells handled by one thread at a time


def cell_normals(grid: Grid) -> Float32:
    """Return unit normals of the surface at the cells, (K, 3), up to sign.

    Each is the direction in which the means of the cells around vary least, all counting alike. A
    cell with too few around it, on a thin edge or where points lie apart, takes its nearest ones
    instead, and so do all on a grid so wide that no table of it fits.
    """
    if math.prod(grid.shape) > TABLE_CELLS:
        return normals(grid.mean, k=NEAREST)
    moments = moment_table(grid.mean - grid.mean.mean(axis=0))
    table, own, steps = _table(grid)

    def block(begin: int) -> tuple[Float64, Int64]:
        around = np.take(table, own[begin : begin + _BLOCK, None] + steps)
        held = np.count_nonzero(around < len(own), axis=1)
        return principal(moments, around), begin + np.flatnonzero(held < LEAST)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(block, range(0, len(own), _BLOCK)))
    found = np.concatenate([part for part, _ in parts])
    lonely = np.concatenate([part for _, part in parts])
    if len(lonely):
        place = moments[:, :3]
        ranks = np.arange(1, min(NEAREST, len(place)) + 1)
        _, index = cKDTree(place, balanced_tree=False).query(place[lonely], ranks, workers=-1)
        found[lonely] = principal(moments, index)
    return found.astype(np.float32)


def _table(grid: Grid) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Which cell is where: for every place of the grid its cell's rank, K for none, flattened.

    Also each cell's own place in it, (K,), and the steps to the places around, so many that the
    table has a border for them.
    """
    reach = math.isqrt(WITHIN)
    shape = [side + 2 * reach for side in grid.shape]
    place = np.stack(np.unravel_index(grid.number, grid.shape))
    own = np.asarray(np.ravel_multi_index(tuple(place + reach), shape), dtype=np.int32)
    table = np.full(math.prod(shape), len(own), dtype=np.int32)
    table[own] = np.arange(len(own), dtype=np.int32)
    around = np.indices([2 * reach + 1] * 3).reshape(3, -1) - reach
    around = around[:, (around**2).sum(axis=0) <= WITHIN]
    steps = np.array([shape[1] * shape[2], shape[2], 1]) @ around
    return table, own, steps.astype(np.int32)
