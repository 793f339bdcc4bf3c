"""Normals of a scan on a grid, from the cells around each: no search, and no order of points."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zeroflaw.geometry.descriptors import moment_table, normals, principal_spread
from zeroflaw.geometry.thin import TABLE_CELLS, Grid
from zeroflaw.types import Float32, Float64, Int64

WITHIN = 6  # squared distance of the cells that count, in cells: 21 of them on a flat surface
REACH = math.isqrt(WITHIN)
LEAST = 16  # of these; where fewer hold points, neighbours are searched for
MOST = 28  # of these; where more do, there may be another wall among them,
AMONG = 0.1  # and so there may be where it is said of such a share of them
NEAREST = 30  # neighbours of a cell among few others
CLOSEST = 14  # neighbours of one among many: on its own side of a thin wall
_BLOCK = 8192  # cells handled by one thread at a time


def cell_normals(grid: Grid) -> Float32:
    """Return unit normals of the surface at the cells, (K, 3), up to sign.

    Each is the direction in which the means of the cells around vary least, all counting alike. A
    cell with too few around it, on a thin edge or where points lie apart, takes its nearest ones
    instead, and so do all on a grid so wide that no table of it fits. One with more around it than
    a single surface has takes fewer, the closest ones, if these lie flatter.
    """
    if math.prod(side + 2 * REACH for side in grid.shape) > TABLE_CELLS:
        return normals(grid.mean, k=NEAREST)
    moments = moment_table(grid.mean - grid.mean.mean(axis=0))
    table, own, steps = _table(grid)

    begins = range(0, len(own), _BLOCK)

    def around(begin: int) -> NDArray[np.int32]:
        return np.take(table, own[begin : begin + _BLOCK, None] + steps)

    def block(begin: int) -> tuple[Float64, Float64, Int64]:
        cells = around(begin)
        return *principal_spread(moments, cells), np.count_nonzero(cells < len(own), axis=1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found, spread, held = map(np.concatenate, zip(*pool.map(block, begins), strict=True))
        crowded = held > MOST
        if crowded.any():
            said = np.append(crowded, False)
            among = list(pool.map(lambda begin: said[around(begin)].sum(axis=1), begins))
            crowded |= np.concatenate(among) > AMONG * held
    lonely = held < LEAST
    spread[lonely] = np.inf
    if lonely.any() or crowded.any():
        place = moments[:, :3]
        tree = cKDTree(place, balanced_tree=False)
        for cells, count in ((lonely, NEAREST), (crowded, CLOSEST)):
            ranks = np.arange(1, min(count, len(place)) + 1)
            index = tree.query(place[cells], ranks, workers=-1)[1]
            vector, other = principal_spread(moments, index)
            flatter = np.flatnonzero(cells)[other < spread[cells]]
            found[flatter] = vector[other < spread[cells]]
    return found.astype(np.float32)


def _table(grid: Grid) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Which cell is where: for every place of the grid its cell's rank, K for none, flattened.

    Also each cell's own place in it, (K,), and the steps to the places around, so many that the
    table has a border for them.
    """
    shape = [side + 2 * REACH for side in grid.shape]
    place = np.stack(np.unravel_index(grid.number, grid.shape))
    own = np.asarray(np.ravel_multi_index(tuple(place + REACH), shape), dtype=np.int32)
    table = np.full(math.prod(shape), len(own), dtype=np.int32)
    table[own] = np.arange(len(own), dtype=np.int32)
    around = np.indices([2 * REACH + 1] * 3).reshape(3, -1) - REACH
    around = around[:, (around**2).sum(axis=0) <= WITHIN]
    steps = np.array([shape[1] * shape[2], shape[2], 1]) @ around
    return table, own, steps.astype(np.int32)
