"""Where a scan ends: the boundary of what the scanner saw, and the points near it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from zeroflaw.geometry.descriptors import normals
from zeroflaw.types import Bool, Float32, Float64

NEIGHBORS = 32
GAP = 150.0
"""Degrees without a neighbour. On a surface of randomly scattered points one in half a million has
such a gap among 32 neighbours; a point on a straight boundary has one of 180."""
NEAR = 0.03
"""How far from the boundary a point is near it, in diagonals of the scan."""


def boundary(
    points: Float64,
    neighbors: int = NEIGHBORS,
    gap: float = GAP,
    normal: Float64 | Float32 | None = None,
) -> Bool:
    """Return which points lie on the boundary of the scanned surface, (N,).

    points: (N, 3); normal: (N, 3), their normals where they are known, of any sign. A point does
    if its nearest neighbours, seen along its normal, leave an angle of `gap` degrees or more free,
    and two of them do as well: no single point makes a boundary. Outlines, the edges of shadows
    and of holes are boundaries; creases of the surface are none. A scan of fewer points than
    neighbours has none.
    """
    if len(points) <= neighbors:
        return np.zeros(len(points), dtype=np.bool_)
    normal = normals(points, k=neighbors) if normal is None else normal
    normal = normal.astype(np.float64)
    side = np.cross(normal, np.eye(3)[np.abs(normal).argmin(axis=1)])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    near = cKDTree(points).query(points, neighbors + 1, workers=-1)[1][:, 1:]
    offset = points[near] - points[:, None]
    right = np.einsum("nkc,nc->nk", offset, side)
    up = np.einsum("nkc,nc->nk", offset, np.cross(normal, side))
    angle = np.sort(np.arctan2(up, right), axis=1)
    around = angle[:, :1] + 2 * np.pi - angle[:, -1:]
    free = np.concatenate([np.diff(angle, axis=1), around], axis=1).max(axis=1)
    open_ended = free >= np.radians(gap)
    return np.asarray(open_ended & (open_ended[near].sum(axis=1) >= 2))


def near_boundary(points: Float64, share: float = NEAR) -> Bool:
    """Return which points lie within `share` of the scan's diagonal from its boundary, (N,).

    points: (N, 3). The diagonal is that of the axis-aligned box. None is near where there is none.
    """
    return np.asarray(boundary_distance(points) <= share)


def boundary_distance(
    points: Float64 | Float32, normal: Float64 | Float32 | None = None
) -> Float64:
    """Return how far points lie from the boundary, (N,), in the scan's diagonals.

    points: (N, 3); normal: see `boundary`. Infinite where the scan has no boundary.
    """
    points = points.astype(np.float64)
    on = boundary(points, normal=normal)
    if not on.any():
        return np.full(len(points), np.inf)
    diagonal = float(np.linalg.norm(np.ptp(points, axis=0)))
    distance, _ = cKDTree(points[on]).query(points, workers=-1)
    return np.asarray(distance / diagonal)
