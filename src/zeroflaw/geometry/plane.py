"""Planes in scans: the one that fits best, and scans without the plane that the part lies on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zeroflaw.geometry.cells import touching_cells
from zeroflaw.io.validate import MINIMUM_POINTS
from zeroflaw.types import Bool, Float64, Int64, Scan

TRIES = 512  # planes through three points; one in ten points on the plane is found for certain
SAMPLE = 4_096  # points that each try is judged by
REFITS = 20
BORDER = 80  # of an organised scan: its shorter side in border widths, 10 of 800 pixels
LEAST_BORDER = 0.05  # share of the border that must be measured to show a background
LEAST_FLAT = 0.3  # share of the measured border that must lie in one plane to be one
STEPS = 3  # between neighbouring pixels that a cluster may bridge, where these lie far apart


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane in the points' frame. center: (3,), one of its points. normal: (3,), unit length."""

    center: Float64
    normal: Float64

    def heights(self, points: Float64) -> Float64:
        """Return the signed distances of points, (N, 3), from the plane: (N,), in their unit."""
        return np.asarray((points - self.center) @ self.normal)


def fit_plane(points: Float64, distance: float, *, seed: int = 0) -> Plane:
    """Return the plane that most points lie near, by RANSAC and least squares.

    points: (N, 3), any unit; distance: how far points of the plane may lie from it, in that unit.
    The best of 512 planes through three points is fitted to all points within the distance until
    these stay the same. The normal's largest component is positive; the same points in the same
    order give the same plane. Raises ValueError where no three points span a plane.
    """
    rng = np.random.default_rng(seed)
    few = points
    if len(points) > SAMPLE:
        few = points[rng.choice(len(points), SAMPLE, replace=False)]
    if len(few) < 3:
        raise ValueError(f"{len(few)} points span no plane")
    middle = few.mean(axis=0)
    local = few - middle
    corners = local[rng.integers(0, len(few), (TRIES, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    spans = length > 1e-12 * float(np.abs(local).max()) ** 2
    if not spans.any():
        raise ValueError("all points lie on one line")
    normals = normals[spans] / length[spans, None]
    offsets = np.einsum("ij,ij->i", normals, corners[spans, 0])
    near = np.count_nonzero(np.abs(local @ normals.T - offsets) <= distance, axis=0)
    best = int(near.argmax())
    found = Plane(middle + offsets[best] * normals[best], _upward(normals[best]))
    return refit(found, points, distance)


def refit(plane: Plane, points: Float64, distance: float, most: int = REFITS) -> Plane:
    """Return the plane fitted by least squares to the points within `distance` of it.

    points: (N, 3). Repeated until the same points are within, but for one in 10,000, or so many
    times at `most`.
    """
    before: Bool | None = None
    for _ in range(most):
        near = np.abs(plane.heights(points)) <= distance
        if np.count_nonzero(near) < 3:
            break
        if before is not None and np.count_nonzero(near != before) <= len(points) // 10_000:
            break
        local = points[near] - plane.center
        mean = local.mean(axis=0)
        moments = local.T @ local / len(local) - np.outer(mean, mean)
        normal = np.linalg.eigh(moments)[1][:, 0]
        plane, before = Plane(plane.center + mean, _upward(normal)), near
    return plane


def without_background(scan: Scan, distance: float, *, inside: bool = False, seed: int = 0) -> Scan:
    """Return an organised scan without the plane that its border shows, and its largest cluster.

    What MVTec 3D-AD's users do before anything else: a plane is fitted to the border of the image,
    10 of 800 pixels wide; points within `distance` of it, in the scan's unit, go, and of the others
    the largest cluster stays, cubes of that edge, or of three pixels if these are farther apart,
    holding together where they touch. inside: take the largest cluster that does not reach the
    border, where there is one of 32 points.

    The scan that comes back maps to the file's rows as before; a note counts the points labelled
    defective that went: labels never decide what goes. It comes back whole, with a note, if its
    border is not measured or not flat, and if fewer than 32 points would stay.
    """
    if scan.grid is None:
        raise ValueError(f"{scan.name} has no grid")
    border = at_border(scan)
    edge = scan.points[border]
    if len(edge) < max(3, LEAST_BORDER * np.count_nonzero(_border_cells(scan.grid))):
        return noted(scan, "no plane was left out: nothing is measured at the border")
    try:
        plane = fit_plane(edge, distance, seed=seed)
    except ValueError:
        return noted(scan, "no plane was left out: the border is not flat")
    if np.mean(np.abs(plane.heights(edge)) <= distance) < LEAST_FLAT:
        return noted(scan, "no plane was left out: the border is not flat")
    away = np.flatnonzero(np.abs(plane.heights(scan.points)) > distance)
    keep = np.zeros(len(scan), dtype=np.bool_)
    if len(away):
        cluster = touching_cells(scan.points[away], max(distance, STEPS * _step(scan.points)))
        keep[away[_largest(cluster, border[away] if inside else None)]] = True
    return left_out(scan, keep)


def left_out(scan: Scan, keep: Bool, *notes: str) -> Scan:
    """Return the scan with the points to keep, (N,), alone, and with the notes.

    A further note counts the points labelled defective that went. `valid` maps to the file's rows
    as before. The scan comes back whole, with a note why, where fewer than 32 points would stay.
    """
    count = int(np.count_nonzero(keep))
    if count < MINIMUM_POINTS:
        return noted(scan, f"no plane was left out: only {count} points lie off it")
    if scan.labels is not None and scan.labels.any():
        labelled = int(np.count_nonzero(scan.labels))
        gone = labelled - int(np.count_nonzero(scan.labels[keep]))
        if gone:
            said = f"{gone} of {labelled} points labelled defective were left out with the plane"
            notes = (*notes, said)
    return noted(selected(scan, keep), *notes)


def selected(scan: Scan, keep: Bool) -> Scan:
    """Return the scan of some of its points, (N,), whose `valid` maps to the file's rows still."""
    rows = len(scan) if scan.valid is None else len(scan.valid)
    valid = np.zeros(rows, dtype=np.bool_)
    valid[keep if scan.valid is None else np.flatnonzero(scan.valid)[keep]] = True
    return replace(
        scan,
        points=scan.points[keep],
        normals=None if scan.normals is None else scan.normals[keep],
        colors=None if scan.colors is None else scan.colors[keep],
        labels=None if scan.labels is None else scan.labels[keep],
        valid=valid,
    )


def noted(scan: Scan, *notes: str) -> Scan:
    """Return the scan with further notes."""
    return replace(scan, notes=(*scan.notes, *notes))


def _upward(normal: Float64) -> Float64:
    """The normal, turned so that its largest component is positive."""
    return np.asarray(normal * np.sign(normal[np.abs(normal).argmax()]))


def _border_cells(grid: tuple[int, int]) -> Bool:
    """Which cells (rows · columns,) lie in the border."""
    width = max(1, round(min(grid) / BORDER))
    border = np.ones(grid, dtype=np.bool_)
    border[width:-width, width:-width] = False
    return border.reshape(-1)


def at_border(scan: Scan) -> Bool:
    """Return which points (N,) of an organised scan lie in the border of its grid."""
    assert scan.grid is not None
    border = _border_cells(scan.grid)
    return border if scan.valid is None else border[scan.valid]


def _step(points: Float64) -> float:
    """The usual distance between neighbouring pixels: one point's from the next one."""
    few = np.arange(0, len(points) - 1, max(1, len(points) // SAMPLE))
    return float(np.median(np.linalg.norm(points[few + 1] - points[few], axis=1)))


def _largest(cluster: Int64, border: Bool | None) -> Bool:
    """Which points (N,) are of the largest cluster; with a border, of one that does not reach it.

    cluster: (N,), from 0.
    """
    size = np.bincount(cluster)
    if border is not None:
        free = np.where(np.bincount(cluster, border) > 0, 0, size)
        if free.max() >= MINIMUM_POINTS:
            size = free
    return np.asarray(cluster == size.argmax())
