"""A mesh becomes a scan: points on its faces, evenly by area."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zeroflaw.io.validate import LARGEST, checked_scan, finite_rows
from zeroflaw.types import Bool, Float64, Scan, ScanError, UInt8

BLOCK = 65_536


@dataclass(frozen=True)
class Sampling:
    """How many points are put on a mesh, and the seed of their places."""

    points: int = 100_000
    seed: int = 0


def sample_mesh(
    vertices: Float64,
    faces: NDArray[np.integer],
    sampling: Sampling,
    path: Path,
    *,
    colors: UInt8 | None = None,
    labels: Bool | None = None,
    notes: Iterable[str] = (),
) -> Scan:
    """A scan of points on triangles, stratified by area, in the order of the faces.

    vertices: (V, 3); faces: (F, 3), any integers; colors, labels: one per vertex, given to the
    points whose nearest corner it is. Raises ScanError.
    """
    check_mesh(vertices, faces, path)
    rng = np.random.default_rng(sampling.seed)
    upto = np.cumsum(areas(vertices, faces))
    if not upto[-1] > 0:
        raise ScanError(path, "its faces have no area", "check what was exported")
    count = sampling.points
    ticks = (np.arange(count) + rng.random(count)) * (upto[-1] / count)
    chosen = faces[np.minimum(np.searchsorted(upto, ticks, side="right"), len(upto) - 1)]
    weight = rng.random((count, 2))
    weight = np.where(weight.sum(axis=1, keepdims=True) > 1, 1 - weight, weight)
    first = vertices[chosen[:, 0]]
    points = first.copy()
    for side in (1, 2):
        points += weight[:, side - 1 : side] * (vertices[chosen[:, side]] - first)
    nearest = np.column_stack([1 - weight.sum(axis=1), weight]).argmax(axis=1)
    corner = chosen[np.arange(count), nearest]
    note = f"a mesh of {len(faces)} triangles, sampled to {count} points (seed {sampling.seed})"
    return checked_scan(
        points,
        colors=None if colors is None else colors[corner],
        labels=None if labels is None else labels[corner],
        source=path,
        notes=[note, *notes],
    )


def check_mesh(vertices: Float64, faces: NDArray[np.integer], path: Path) -> None:
    """Raise ScanError unless every corner of every face is a finite vertex of sane size."""
    if not len(faces):
        raise ScanError(path, "the mesh has no faces", "check what was exported")
    low, high = int(faces.min()), int(faces.max())
    if not len(vertices):
        raise ScanError(path, "its faces have no vertices", "check what was exported")
    if low < 0 or high >= len(vertices):
        raise ScanError(
            path,
            f"a face names vertex {low if low < 0 else high}",
            f"expected 0 to {len(vertices) - 1}: the file is damaged, export it again",
        )
    if not finite_rows(vertices).all():
        raise ScanError(path, "some vertices are not finite numbers", "repair the mesh")
    largest = float(np.abs(vertices).max())
    if largest > LARGEST:
        raise ScanError(
            path,
            f"coordinates reach {largest:.2g}",
            f"expected at most {LARGEST:.0e} in size: check the file's format and unit",
        )


def areas(vertices: Float64, faces: NDArray[np.integer]) -> Float64:
    """The area of each triangle (F,)."""
    result = np.empty(len(faces))
    for start in range(0, len(faces), BLOCK):
        first, second, third = (vertices[faces[start : start + BLOCK, side]] for side in range(3))
        normal = np.cross(second - first, third - first)
        result[start : start + BLOCK] = np.sqrt(np.einsum("ij,ij->i", normal, normal)) / 2
    return result
