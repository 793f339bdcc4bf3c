"""Voxel-grid thinning: fewer points of a dense scan, whatever the order they came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroflaw.types import Float64, Int64


@dataclass(frozen=True, eq=False)
class Thinned:
    """What is left of a scan: one point for each occupied cell of a grid.

    index: (K,) int64, the point nearest to its cell's mean. mean: (K, 3) float64, the mean of the
    cell's points, in the user's frame. count: (K,) int64, how many points the cell holds.
    """

    index: Int64
    mean: Float64
    count: Int64

    def __len__(self) -> int:
        return len(self.index)


def thin(points: NDArray[Any], count: int) -> Thinned:
    """Return at most `count` points that stand for the scan.

    points: (N, 3), finite.
    """
    points = np.asarray(points, dtype=np.float64)
    low = points.min(axis=0)
    offset = points - low
    extent = float(offset.max())
    if len(points) <= count or extent == 0:
        index = np.lexsort(points.T[::-1])[: count if extent else 1]
        return Thinned(index, points[index], np.ones(len(index), dtype=np.int64))
    small, large = 0.0, extent * 1.001
    best = np.zeros(len(points), dtype=np.int64)
    for _ in range(12):
        middle = (small + large) / 2
        cell = (offset / middle).astype(np.int64)
        key = (cell[:, 0] << 42) | (cell[:, 1] << 21) | cell[:, 2]
        occupied = len(np.unique(key))
        if occupied > count:
            small = middle
        else:
            large, best = middle, key
            if occupied > 0.8 * count:
                break
    _, inverse, size = np.unique(best, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(inverse, offset[:, axis]) for axis in range(3)], axis=1)
    mean /= size[:, None]
    distance = ((offset - mean[inverse]) ** 2).sum(axis=1)
    order = np.lexsort((offset[:, 2], offset[:, 1], offset[:, 0], distance, inverse))
    first = order[np.cumsum(size) - size]
    return Thinned(first.astype(np.int64), mean + low, size.astype(np.int64))
