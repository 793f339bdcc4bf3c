"""From columns with names to a scan: which are coordinates, normals, colours and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroflaw.io.validate import checked_scan, finite_rows
from zeroflaw.types import Bool, Float32, Float64, Scan, ScanError, UInt8

Columns = Mapping[str, NDArray[Any]]

POINTS = (("x", "y", "z"),)
NORMALS = (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"))
COLORS = (
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
)
PACKED = ("rgb", "rgba")
LABELS = ("label", "labels", "scalar_label", "defect", "anomaly")
UNKNOWN_LABEL = 2


class ScanColumns:
    """Gathers a scan's arrays from columns, block by block.

    names: the columns that the file has, in any order and case. count: how many points it will
    have. Columns whose names mean nothing here are left out. Raises ScanError without x, y and z.
    """

    def __init__(self, names: Sequence[str], count: int, source: Path) -> None:
        by_name = {name.lower(): name for name in reversed(names)}
        points = find(POINTS, by_name)
        if points is None:
            listed = ", ".join(names[:12]) or "none"
            raise ScanError(source, f"its fields are {listed}", "expected x, y and z among them")
        self.source = source
        self.point_names = points
        self.normal_names = find(NORMALS, by_name)
        self.color_names = find(COLORS, by_name)
        self.packed_name = next((by_name[n] for n in PACKED if n in by_name), None)
        self.label_name = next((by_name[n] for n in LABELS if n in by_name), None)
        self.points = np.empty((count, 3), dtype=np.float64)
        self.normals = np.empty((count, 3), dtype=np.float32) if self.normal_names else None
        self.colors: NDArray[Any] | None = None
        self.labels = np.empty(count, dtype=np.uint8) if self.label_name else None

    @property
    def wanted(self) -> set[str]:
        """The columns that it takes."""
        single = {name for name in (self.packed_name, self.label_name) if name}
        return single.union(self.point_names, self.normal_names or (), self.color_names or ())

    @property
    def typed(self) -> set[str]:
        """The columns whose meaning depends on the type that a header gives them."""
        packed = {self.packed_name} if self.packed_name else set()
        return packed.union(self.color_names or ())

    def put(self, start: int, columns: Columns | NDArray[np.void]) -> None:
        """Take over rows from `start` on; columns: equally long arrays by name."""
        first = columns[self.point_names[0]]
        rows = slice(start, start + len(first))
        put_triple(self.points[rows], columns, self.point_names)
        if self.normals is not None and self.normal_names:
            put_triple(self.normals[rows], columns, self.normal_names)
        if self.color_names:
            example = columns[self.color_names[0]]
            put_triple(self._colors(example.dtype)[rows], columns, self.color_names)
        elif self.packed_name:
            packed = unpacked(columns[self.packed_name])
            if packed is not None:
                self._colors(packed.dtype)[rows] = packed
        if self.labels is not None and self.label_name:
            label = columns[self.label_name]
            self.labels[rows] = np.where(label == 0, 0, np.where(label == 1, 1, UNKNOWN_LABEL))

    def _colors(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        if self.colors is None:
            kind = np.uint8 if dtype == np.uint8 else np.float32
            self.colors = np.empty(self.points.shape, dtype=kind)
        return self.colors

    def scan(self, *, grid: tuple[int, int] | None = None, notes: Iterable[str] = ()) -> Scan:
        """The scan of what was taken over. Raises ScanError."""
        vertices = self.vertices(notes)
        return checked_scan(
            vertices.points,
            normals=self.normals,
            colors=vertices.colors,
            labels=vertices.labels,
            grid=grid,
            source=self.source,
            notes=vertices.notes,
        )

    def vertices(self, notes: Iterable[str] = ()) -> Vertices:
        """What was taken over, with colours as bytes and labels as marks of defects."""
        notes = list(notes)
        colors, labels = None, None
        if self.colors is not None:
            colors = bytes_of_colors(self.colors, self.points)
            if colors is None:
                notes.append("colours were left out: their range is not 0 to 1, 255 or 65535")
        if self.labels is not None:
            unknown = self.labels == UNKNOWN_LABEL
            if unknown.any() and unknown[finite_rows(self.points)].any():
                notes.append(f"{self.label_name} was left out: not 0 or 1, so no mark of defects")
            else:
                labels = self.labels == 1
        return Vertices(self.points, colors, labels, tuple(notes))


def find(
    choices: Iterable[tuple[str, str, str]], by_name: Mapping[str, str]
) -> tuple[str, str, str] | None:
    """The names, as the file spells them, of the first three that are all there."""
    for first, second, third in choices:
        if first in by_name and second in by_name and third in by_name:
            return by_name[first], by_name[second], by_name[third]
    return None


def put_triple(
    target: NDArray[Any], columns: Columns | NDArray[np.void], names: tuple[str, str, str]
) -> None:
    """Copy three columns into (K, 3)."""
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(columns, np.ndarray) and columns.dtype.names == names:
            dtype = columns.dtype[0]
            if all(columns.dtype[axis] == dtype for axis in range(3)):  # nothing else in the rows
                target[:] = columns.view(dtype).reshape(-1, 3)
                return
        for axis, name in enumerate(names):
            target[:, axis] = columns[name]


def unpacked(values: NDArray[Any]) -> UInt8 | None:
    """Red, green, blue (K, 3) of 0xRRGGBB in four bytes of any type; None for other sizes."""
    if values.dtype.itemsize != 4:
        return None
    bits = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("=")).view(np.uint32)
    parts: UInt8 = np.stack([bits >> 16, bits >> 8, bits], axis=1).astype(np.uint8)
    return parts


def bytes_of_colors(colors: NDArray[Any], points: Float64) -> UInt8 | None:
    """Colours as bytes, from bytes or from floats up to 1, 255 or 65535; None for other ranges.

    Colours of points that are not finite may be anything.
    """
    if colors.dtype == np.uint8:
        return colors
    shown: Float32 = colors[finite_rows(points)]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
    if not (low >= 0 and high <= 65535):  # NaN as well
        return None
    scale = 255 if high <= 1 else 1 if high <= 255 else 1 / 257
    scaled = np.nan_to_num(colors * np.float32(scale))
    result: UInt8 = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return result


@dataclass(frozen=True, eq=False)
class Vertices:
    """What the vertices of a mesh carry, each (V, …); none of them dropped, none checked."""

    points: Float64
    colors: UInt8 | None
    labels: Bool | None
    notes: tuple[str, ...]
