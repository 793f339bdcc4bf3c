"""Binary PLY files: scans, and scans coloured by their scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroflaw.io.atomic import replacing
from zeroflaw.io.colors import heat
from zeroflaw.types import Float64, Inspection, Scan

TYPES = {"<f4": "float", "<f8": "double", "|u1": "uchar"}
FINE_ENOUGH = 1e-6  # of the scan's diagonal


def write_scan(path: Path, scan: Scan) -> None:
    """Write a scan, without loss, to a PLY file with what it has: normals, colours, `label`.

    Coordinates are float where that holds them exactly, else double. Raises ZeroflawError.
    """
    exact = np.array_equal(as_float32(scan.points), scan.points)
    columns = [*triple(scan.points, "x y z", "<f4" if exact else "<f8")]
    if scan.normals is not None:
        columns += triple(scan.normals, "nx ny nz", "<f4")
    if scan.colors is not None:
        columns += triple(scan.colors, "red green blue", "|u1")
    if scan.labels is not None:
        columns.append(("label", "|u1", scan.labels))
    write_columns(path, columns)


def write_ply(path: Path, inspection: Inspection) -> None:
    """Write the points with the property `score` and its colour, see `heat`, to a binary PLY file.

    Coordinates are float where that keeps them to 1e-6 of the scan's diagonal, else double.
    Raises ZeroflawError.
    """
    points, scores = inspection.scan.points, inspection.point_scores
    diagonal = np.linalg.norm(points.max(axis=0) - points.min(axis=0))
    fine = np.abs(as_float32(points) - points).max() <= FINE_ENOUGH * diagonal
    columns = [
        *triple(points, "x y z", "<f4" if fine else "<f8"),
        *triple(heat(scores, inspection.point_threshold), "red green blue", "|u1"),
        ("score", "<f4", scores),
    ]
    write_columns(path, columns)


Column = tuple[str, str, NDArray[Any]]


def triple(values: NDArray[Any], names: str, dtype: str) -> list[Column]:
    """The columns of (N, 3)."""
    return [(name, dtype, values[:, axis]) for axis, name in enumerate(names.split())]


def as_float32(points: Float64) -> NDArray[np.float32]:
    """The points in single precision; too large ones become infinite."""
    with np.errstate(over="ignore"):
        return points.astype(np.float32)


def write_columns(path: Path, columns: list[Column]) -> None:
    """Write equally long columns as vertices. Raises ZeroflawError."""
    count = len(columns[0][2])
    rows = np.empty(count, dtype=[(name, dtype) for name, dtype, _ in columns])
    for name, _, values in columns:
        rows[name] = values
    properties = [f"property {TYPES[dtype]} {name}" for name, dtype, _ in columns]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment zeroflaw",
        f"element vertex {count}",
        *properties,
        "end_header",
    ]
    with replacing(path) as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        file.write(rows.tobytes())
