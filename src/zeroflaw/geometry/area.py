"""How much of a scanned surface each point stands for."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from zeroflaw.types import Float64, Int64

_SAMPLE = 20_000
_NEIGHBORS = 8


def point_areas(points: Float64, chosen: Int64) -> tuple[Float64, float]:
    """The area that each chosen point stands for, and that of all points, in squared units.

    points: (N, 3); chosen: (K,) indices. Returns (K,) and a float. The area is
    that of the disc around a point that holds its 8 nearest neighbours, divided by 8, taken from a
    seeded sample of a large scan and scaled by the sample's share.
    """
    count = len(points)
    sample = points
    rng = np.random.default_rng(0)
    if count > _SAMPLE:
        sample = points[rng.choice(count, _SAMPLE, replace=False, shuffle=False)]
    neighbors = min(_NEIGHBORS, len(sample) - 1)
    if neighbors < 1:
        return np.zeros(len(chosen)), 0.0
    tree = cKDTree(sample)
    distance, _ = tree.query(sample, [neighbors + 1], workers=-1)
    area = np.pi * distance[:, 0] ** 2 / neighbors
    if sample is points:
        return area[chosen], float(area.sum())
    _, nearest = tree.query(points[chosen], workers=-1)
    # Wide gaps of the sample attract more points, so the whole is summed over points like the parts.
    _, typical = tree.query(points[rng.integers(0, count, _SAMPLE)], workers=-1)
    return area[nearest] * (len(sample) / count), float(area[typical].mean() * len(sample))
