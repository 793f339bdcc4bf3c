"""What every scan must be, wherever it comes from: finite points that span a surface."""

from __future__ import annotations

from collections.abc import Iterable
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
BLOCK = 8_192  # points that stay in the processor's cache


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
    sane = plausible(points)
    if not sane or not (measured is None or measured.all()):
        finite = finite_rows(points)
        dropped = rows - int(np.count_nonzero(finite))
        keep = finite if measured is None else finite & measured
        valid = None if keep.all() else keep
    if valid is not None:
        points = points[valid]
        normals = None if normals is None else normals[valid]
        colors = None if colors is None else colors[valid]
        labels = None if labels is None else labels[valid]
        if grid is None and dropped:
            notes.append(f"{dropped} points were not finite and were dropped")
    if normals is not None:
        normals = unit(normals)
        if normals is None:
            notes.append("normals were left out: some are zero or not finite")
    check_points(points, rows, source, sane=sane)
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


def plausible(points: Float64) -> bool:
    """Whether the points (N, 3) are surely finite and within LARGEST; quick, and unsure at most."""
    flat = points.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.einsum("i,i->", flat, flat) <= LARGEST**2)


def check_points(points: Float64, rows: int, source: Path | None, *, sane: bool) -> None:
    """Raise ScanError unless the points (N, 3), what is left of so many rows, span a surface.

    sane: whether none of them can be larger than LARGEST.
    """
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
    if not sane and (largest := float(np.abs(points).max())) > LARGEST:
        raise ScanError(
            source,
            f"coordinates reach {largest:.2g}",
            f"expected at most {LARGEST:.0e} in size: check the file's format and unit",
        )
    # A few points mostly show that there is a surface; only where they do not, all are looked at.
    if surface_missing(points[:: max(1, count // FEW)]) and (why := surface_missing(points)):
        raise ScanError(source, f"all {count} points lie {why}", "check what was exported")


def surface_missing(points: Float64) -> str:
    """Where the points (N, 3) lie if they span no surface, in words; empty if they do."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    if extent <= max(8 * np.finfo(np.float64).eps * float(np.abs(points).max()), SMALLEST):
        return "at one place"
    if fewer_distinct(points):
        return f"at fewer than {MINIMUM_POINTS} different places"
    total, square = np.zeros(3), np.zeros((3, 3))
    for start in range(0, len(points), BLOCK):
        block = (points[start : start + BLOCK] - points[0]) / extent
        total += block.sum(axis=0)
        square += block.T @ block
    moments = square / len(points) - np.outer(total, total) / len(points) ** 2
    return "on one line" if np.linalg.eigvalsh(moments)[1] <= THINNEST**2 else ""


def fewer_distinct(points: Float64) -> bool:
    """Whether the points lie at fewer than MINIMUM_POINTS different places."""
    seen: Float64 = points[:0]
    start, step = 0, 2 * MINIMUM_POINTS
    while start < len(points) and len(seen) < MINIMUM_POINTS:
        seen = np.unique(np.concatenate([seen, points[start : start + step]]), axis=0)
        start, step = start + step, min(2 * step, BLOCK)
    return len(seen) < MINIMUM_POINTS
