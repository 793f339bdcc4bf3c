"""What every scan must be, wherever it comes from: finite points that span a surface."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zeroflaw.types import Bool, Float32, Float64, Scan, ScanError, UInt8

MINIMUM_POINTS = 32
"""The size of a patch: with fewer points there is nothing to look at."""
LARGEST = 1e12
"""Larger coordinates come from damage, not from a scanner: map coordinates in mm reach 1e10."""
SMALLEST = 1e-12
"""A smaller scan has no shape that float32 could hold once it is squared."""
THINNEST = 1e-6
"""How far points stray from a line, in its length, by no more than rounding."""
FEW = 1_024  # points that usually show that a scan is no line
BLOCK = 8_192  # stays in the processor's cache


def scan_from_array(points: ArrayLike, source: Path | None = None) -> Scan:
    """A scan from an array of points (N, 3) or, organised, (rows, columns, 3), of any number type.

    Further columns are left out, with a note. Raises ScanError.
    """
    try:
        array = np.asarray(points)
    except ValueError:
        raise ScanError(source, "its rows differ in length", "give an array (N, 3)") from None
    if array.dtype.kind not in "fiu":
        raise ScanError(
            source, f"holds {array.dtype}, not numbers", "give an array (N, 3) of floats"
        )
    turned = array.ndim == 2 and array.shape[0] == 3 and array.shape[1] != 3
    narrow = array.ndim not in (2, 3) or array.shape[-1] < 3
    if turned or narrow or (array.ndim == 3 and array.shape[2] != 3):
        shape = " × ".join(str(length) for length in array.shape) or "a single number"
        remedy = "transpose it" if turned else "give an array (N, 3)"
        raise ScanError(source, f"has the shape {shape}", remedy)
    grid = array.shape[:2] if array.ndim == 3 else None
    rows = array.reshape(-1, array.shape[-1])
    notes = () if rows.shape[1] == 3 else (columns_left_out(rows.shape[1]),)
    xyz: Float64 = np.array(rows[:, :3], dtype=np.float64, order="C")
    return checked_scan(xyz, grid=grid, source=source, notes=notes)


def columns_left_out(count: int) -> str:
    """The note that only the first three of so many unnamed columns were used."""
    return f"{count} columns without names: the first three are x, y, z, the others were ignored"


def checked_scan(
    points: Float64,
    *,
    normals: Float32 | None = None,
    colors: UInt8 | None = None,
    labels: Bool | None = None,
    grid: tuple[int, int] | None = None,
    measured: Bool | None = None,
    source: Path | None = None,
    notes: Iterable[str] = (),
) -> Scan:
    """A scan of those points (M, 3) that are finite, after checking that they span a surface.

    normals, colors, labels: one row per point. measured: (M,), False where a format marks a point
    as not measured. Raises ScanError.
    """
    notes = list(notes)
    rows, dropped, valid = len(points), 0, None
    box = box_around(points)
    if not box.finite or not (measured is None or measured.all()):
        finite = finite_rows(points)
        dropped = rows - int(np.count_nonzero(finite))
        keep = finite if measured is None else finite & measured
        valid = None if keep.all() else keep
    if valid is not None:
        points = points[valid]
        box = box_around(points)
        normals = None if normals is None else normals[valid]
        colors = None if colors is None else colors[valid]
        labels = None if labels is None else labels[valid]
        if grid is None and dropped:
            notes.append(f"{dropped} points were not finite and were dropped")
    if normals is not None:
        normals = unit(normals)
        if normals is None:
            notes.append("normals were left out: some are zero or not finite")
    check_points(points, box, rows, source)
    return Scan(points, normals, colors, labels, grid, valid, source, dropped, tuple(notes))


def finite_rows(points: NDArray[np.floating]) -> Bool:
    """Which rows (N, 3) hold no NaN and no infinity."""
    finite: Bool = np.isfinite(points[:, 0])
    for axis in (1, 2):
        finite &= np.isfinite(points[:, axis])
    return finite


def unit(normals: Float32) -> Float32 | None:
    """Normals scaled to length one; None if one of them has no direction."""
    length = np.sqrt(np.einsum("ij,ij->i", normals, normals, dtype=np.float64))
    if not (np.isfinite(length).all() and (length > 0).all()):
        return None
    scaled: Float32 = normals / length.astype(np.float32)[:, None]
    return scaled if np.isfinite(scaled).all() else None


@dataclass(frozen=True, eq=False)
class Box:
    """The axis-aligned box around points. low, high: (3,); not finite if a point is not."""

    low: Float64
    high: Float64

    @property
    def finite(self) -> bool:
        """Whether all points are."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())


def box_around(points: Float64) -> Box:
    """The box around points (N, 3); inside out if there are none."""
    low, high = np.full(3, np.finfo(np.float64).max), np.full(3, np.finfo(np.float64).min)
    for start in range(0, len(points), BLOCK):
        block = np.ascontiguousarray(points[start : start + BLOCK].T)
        low = np.minimum(low, block.min(axis=1))
        high = np.maximum(high, block.max(axis=1))
    return Box(low, high)


def check_points(points: Float64, box: Box, rows: int, source: Path | None) -> None:
    """Raise ScanError unless the points (N, 3), what is left of so many rows, span a surface."""
    count = len(points)
    if not rows:
        raise ScanError(source, "holds no points", "check what was exported")
    if not count:
        raise ScanError(source, f"none of its {rows} points is measured", "scan the part again")
    if count < MINIMUM_POINTS:
        raise ScanError(
            source,
            f"only {count} of its {rows} points can be used",
            f"a scan needs at least {MINIMUM_POINTS}",
        )
    largest = float(max(-box.low.min(), box.high.max()))
    if largest > LARGEST:
        raise ScanError(
            source,
            f"coordinates reach {largest:.2g}",
            f"expected at most {LARGEST:.0e} in size: check the file's format and unit",
        )
    extent = float((box.high - box.low).max())
    if extent <= max(8 * np.finfo(np.float64).eps * largest, SMALLEST):
        raise ScanError(source, f"all {count} points lie at one place", "check what was exported")
    if fewer_distinct(points):
        raise ScanError(
            source,
            f"its {count} points lie at fewer than {MINIMUM_POINTS} different places",
            f"a scan needs at least {MINIMUM_POINTS}",
        )
    if on_a_line(points, extent):
        raise ScanError(source, f"all {count} points lie on one line", "check what was exported")


def fewer_distinct(points: Float64) -> bool:
    """Whether the points lie at fewer than MINIMUM_POINTS different places."""
    seen: Float64 = points[:0]
    start, step = 0, 2 * MINIMUM_POINTS
    while start < len(points) and len(seen) < MINIMUM_POINTS:
        seen = np.unique(np.concatenate([seen, points[start : start + step]]), axis=0)
        start, step = start + step, min(2 * step, BLOCK)
    return len(seen) < MINIMUM_POINTS


def on_a_line(points: Float64, extent: float) -> bool:
    """Whether the points lie on one line, to within THINNEST of their extent."""
    if len(points) > 2 * FEW and not on_a_line(points[:: len(points) // FEW], extent):
        return False
    total, square = np.zeros(3), np.zeros((3, 3))
    for start in range(0, len(points), BLOCK):
        block = (points[start : start + BLOCK] - points[0]) / extent
        total += block.sum(axis=0)
        square += block.T @ block
    moments = square / len(points) - np.outer(total, total) / len(points) ** 2
    return bool(np.linalg.eigvalsh(moments)[1] <= THINNEST**2)
