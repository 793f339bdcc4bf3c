"""How much of a scanned surface each point stands for."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from zeroflaw.types import Bool, Float64, Int64

_SAMPLE = 100_000  # points of a large scan that its density is taken from
_PROBES = 20_000  # places that the area of a large scan is summed over
_NEIGHBORS = 8


def point_areas(points: Float64, chosen: Int64) -> tuple[Float64, float]:
    """The area that each chosen point stands for, and that of all points, in squared units.

    points: (N, 3); chosen: (K,) indices. Returns (K,) and a float. The area is that of the disc
    around a point that holds its 8 nearest neighbours, divided by 8: no bias where points lie at
    random on a flat surface. Of a large scan a seeded sample is taken.
    """
    count = len(points)
    if count < 3:
        return np.zeros(len(chosen)), 0.0
    rng = np.random.default_rng(0)
    member = np.ones(count, dtype=np.bool_)
    if count > _SAMPLE:
        member[:] = False
        member[rng.choice(count, _SAMPLE, replace=False, shuffle=False)] = True
    tree = cKDTree(points[member])
    probes = rng.integers(0, count, _PROBES) if count > _PROBES else np.arange(count)
    share = tree.n / count
    whole = float(_disc_areas(tree, points[probes], member[probes]).mean()) * share * count
    return _disc_areas(tree, points[chosen], member[chosen]) * share, whole


def _disc_areas(tree: cKDTree, queries: Float64, member: Bool) -> Float64:
    """Area per point of the tree around each query; members of the tree do not count themselves."""
    neighbors = min(_NEIGHBORS, tree.n - 1)
    distance, _ = tree.query(queries, [neighbors, neighbors + 1], workers=-1)
    radius = np.where(member, distance[:, 1], distance[:, 0])
    return np.asarray(np.pi / neighbors * radius**2)
