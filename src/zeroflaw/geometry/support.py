"""What a part stands on: the table in a scan, told from the part's own faces, and left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, QhullError, cKDTree

from zeroflaw.geometry.cells import touching_cells
from zeroflaw.geometry.plane import Plane, fit_plane, left_out, noted, refit
from zeroflaw.geometry.regions import connected_regions
from zeroflaw.geometry.thin import thin
from zeroflaw.types import Bool, Float64, Scan

FEW = 8_192  # evenly spread points that planes are looked for in
CANDIDATES = 4  # largest planes that are looked at
COARSE = 0.01  # of the scan's extent: no point of a plane lies farther from it
FINE = 0.001  # of the scan's extent: points so near the plane are not told from it
ROUNDS = 3  # of fitting a plane that is nearly right already
SIGMAS = 4.0  # of the plane's noise
LEAST_PLANE = 0.05  # of the scanned surface
LEAST_PART = 0.01  # of the scanned surface
MOST_BELOW = 0.05  # of the points over the plane, on its other side
MOST_AROUND = 0.1  # of what stands on the plane, of other points that hang together with it
WIDER = 1.2  # area of the plane's outline in that of what stands on it
MOSTLY = 0.5  # share of a part's points that are over the plane's outline
REACH = 5.0  # spacings of the points, the edge of cubes that hold a part together


@dataclass(frozen=True, eq=False)
class Support:
    """A plane that a part stands on.

    plane: its normal points to the part. distance: how far its points lie from it, in the scan's
    unit. axes: (2, 3), in the plane. outline: (E, 3), half-planes a x + b y + c <= 0 along the
    axes, from the plane's center. area: of the outline.
    """

    plane: Plane
    distance: float
    axes: Float64
    outline: Float64
    area: float

    def covers(self, points: Float64) -> Bool:
        """Return which points, (N, 3), lie over or under the outline: (N,)."""
        across = (points - self.plane.center) @ self.axes.T
        covered = np.ones(len(points), dtype=np.bool_)
        for edge in self.outline:
            covered &= across @ edge[:2] + edge[2] <= 0
        return covered


def without_plane(scan: Scan, distance: float | None = None, *, seed: int = 0) -> Scan:
    """Return the scan without the plane that the part stands on, and what else is around the part.

    distance: up to which points belong to the plane, in the scan's unit; by default four times the
    plane's noise, within 0.1 % and 1 % of the scan's extent, which asks for no unit. A plane is
    taken for a support if it holds 5 % of the surface or more, hardly anything lies beneath it or
    goes on around it, and on it stands something of 1 % or more, whose outline the plane's exceeds
    by a fifth. Of several the widest counts; of several parts on it the largest stays. The faces of
    a part that was scanned all around fail this: then, and where less than 32 points would stay,
    the scan comes back whole, and a note says why. Otherwise the notes say how many points were
    left out, and `valid` maps to the file's rows as before. The order of points does not matter.
    """
    found = find_support(scan.points, distance, seed)
    if isinstance(found, str):
        return noted(scan, f"no plane was left out: {found}")
    support, spacing = found
    heights = support.plane.heights(scan.points)
    above = np.flatnonzero(heights > support.distance)
    cluster = touching_cells(scan.points[above], max(support.distance, REACH * spacing))
    size = np.bincount(cluster)
    over = np.bincount(cluster, support.covers(scan.points[above]))
    size = np.where(over >= MOSTLY * size, size, 0)
    keep = np.zeros(len(scan), dtype=np.bool_)
    keep[above[cluster == size.argmax()]] = True
    on_plane = np.count_nonzero(np.abs(heights) <= support.distance)
    notes = [f"{on_plane} points of the supporting plane were left out"]
    if beside := len(scan) - on_plane - np.count_nonzero(keep):
        notes.append(f"{beside} points beside the part were left out")
    return left_out(scan, keep, *notes)


def find_support(
    points: Float64, distance: float | None = None, seed: int = 0
) -> tuple[Support, float] | str:
    """Return the plane that something stands on and the points' spacing, or why there is none.

    points: (N, 3), distance: as in `without_plane`.
    """
    index = thin(points, FEW).index
    few = points[index]
    extent = _steady_extent(few)
    coarse = COARSE * extent if distance is None else distance
    left = np.ones(len(few), dtype=np.bool_)
    supports, reason = [], "the scan has no large plane"
    for _ in range(CANDIDATES):
        if np.count_nonzero(left) < LEAST_PLANE * len(few):
            break
        try:
            plane = fit_plane(few[left], coarse, seed=seed)
        except ValueError:
            break
        near = coarse
        if distance is None:
            plane, near = _sharpened(plane, few, extent)
        flat = np.abs(plane.heights(few)) <= near
        judged = _judged(plane, near, few, flat & left)
        if isinstance(judged, Support):
            supports.append(judged)
        elif reason == "the scan has no large plane":
            reason = judged
        if not np.any(flat & left):
            break
        left &= ~flat
    if not supports:
        return reason
    widest = max(supports, key=lambda support: support.area)
    return _refined(widest, points, distance, extent), _spacing(few) * (
        len(few) / len(points)
    ) ** 0.5


def _judged(plane: Plane, distance: float, few: Float64, flat: Bool) -> Support | str:
    """The plane as a support, or why it is none. few: (K, 3); flat: (K,), those of the plane."""
    part_of = connected_regions(few, flat)
    size = np.bincount(part_of[flat])
    if size.max(initial=0) < LEAST_PLANE * len(few):
        return "the scan has no large plane"
    outlined = _outlined(plane, distance, few[part_of == size.argmax()])
    if outlined is None:
        return "the scan has no large plane"
    heights, over = plane.heights(few), outlined.covers(few)
    up = np.count_nonzero(over & (heights > 2 * distance))
    down = np.count_nonzero(over & (heights < -2 * distance))
    if min(up, down) > MOST_BELOW * max(up, down):
        return "its largest plane has points on both sides, as a face of the part has"
    if down > up:
        outlined = _outlined(
            Plane(plane.center, -plane.normal), distance, few[part_of == size.argmax()]
        )
        assert outlined is not None
        heights = -heights
    standing = _standing(outlined, few, heights > distance)
    if len(standing) < LEAST_PART * len(few):
        return "too little stands on its largest plane; crop the scan to the part"
    around = _around(outlined, few, flat)
    if around > MOST_AROUND * len(standing):
        return "the scan goes on around its largest plane, as a part does around a face"
    beneath = _outlined(outlined.plane, distance, standing)
    if beneath is not None and outlined.area < WIDER * beneath.area:
        return "its largest plane is no wider than the part, as a face of the part is"
    return outlined


def _around(support: Support, few: Float64, flat: Bool) -> int:
    """How many points hang together with the plane, (K,), but are neither of it nor over it."""
    component = connected_regions(few, np.ones(len(few), dtype=np.bool_))
    own = np.bincount(component[flat]).argmax()
    return int(np.count_nonzero((component == own) & ~flat & ~support.covers(few)))


def _standing(support: Support, few: Float64, above: Bool) -> Float64:
    """The points of the largest cluster above the plane that is mostly over it, (S, 3)."""
    if not above.any():
        return few[:0]
    cluster = connected_regions(few, above)[above]
    size = np.bincount(cluster)
    over = np.bincount(cluster, support.covers(few[above]))
    size = np.where(over >= MOSTLY * size, size, 0)
    return few[above][cluster == size.argmax()] if size.max() else few[:0]


def _outlined(plane: Plane, distance: float, points: Float64) -> Support | None:
    """The plane with the convex outline of points, (S, 3), on it; None where they have no area."""
    first = np.eye(3)[np.abs(plane.normal).argmin()]
    first = first - plane.normal * (first @ plane.normal)
    first /= np.linalg.norm(first)
    axes = np.stack([first, np.cross(plane.normal, first)])
    try:
        hull = ConvexHull((points - plane.center) @ axes.T)
    except (QhullError, ValueError):
        return None
    return Support(plane, distance, axes, hull.equations, float(hull.volume))


def _sharpened(plane: Plane, points: Float64, extent: float) -> tuple[Plane, float]:
    """The plane fitted to its own points alone, and how far they lie from it by their noise."""
    distance = COARSE * extent
    for _ in range(2):
        heights = np.abs(plane.heights(points))
        noise = 1.4826 * float(np.median(heights[heights <= distance]))
        distance = float(np.clip(SIGMAS * noise, FINE * extent, distance))
        plane = refit(plane, points, distance, ROUNDS)
    return plane, distance


def _refined(support: Support, points: Float64, distance: float | None, extent: float) -> Support:
    """The same support, fitted to all points rather than to the few: their noise is less."""
    plane, near = support.plane, support.distance
    coarse = COARSE * extent if distance is None else 2 * distance
    points = points[np.abs(plane.heights(points)) <= 2 * coarse]
    if distance is None:
        fitted, near = _sharpened(plane, points, extent)
    else:
        fitted = refit(plane, points, distance, ROUNDS)
    normal = fitted.normal * np.sign(fitted.normal @ plane.normal)
    return Support(Plane(fitted.center, normal), near, support.axes, support.outline, support.area)


def _steady_extent(points: Float64) -> float:
    """The diagonal of the box around all but the outermost points."""
    low, high = np.quantile(points, (0.01, 0.99), axis=0)
    return float(np.linalg.norm(high - low))


def _spacing(points: Float64) -> float:
    """The median distance between points, (K, 3), and their nearest neighbours."""
    return float(np.median(cKDTree(points).query(points, [2])[0]))
