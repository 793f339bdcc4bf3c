"""The nouns of the package: a scan, what was found on it, and the error that a bad one raises."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]


def printable(text: str | Path) -> str:
    """Any text or path for people, on one line; what is no plain letter becomes a question mark."""
    return "".join(letter if letter.isprintable() else "�" for letter in str(text))


class ZeroflawError(Exception):
    """An error that a person can act on: one line with what was wrong, where, and the remedy."""


class ScanError(ZeroflawError):
    """A scan that cannot be used.

    `str(error)` is one line: file, place, what was expected, remedy.
    """

    def __init__(
        self, source: str | Path | None, problem: str, remedy: str, place: str = ""
    ) -> None:
        self.source = None if source is None else str(source)
        self.place = place
        self.problem = problem
        self.remedy = remedy
        where = ", ".join(part for part in (self.source or "scan in memory", place) if part)
        super().__init__(" ".join(f"{where}: {problem}; {remedy}".split()))


@dataclass(frozen=True, eq=False)
class Scan:
    """Points of one scan in the user's own frame and unit.

    points: (N, 3) float64, all finite. normals: (N, 3) float32, unit length. colors: (N, 3) uint8.
    labels: (N,) bool, True where the surface is defective. grid: (rows, columns) of an organised
    scan. valid: (M,) bool, which of the file's M rows or grid cells (row by row) became the N
    points, in the same order; None when all of them did. dropped: how many rows were not finite.
    notes: what a reader did that the user should know, such as sampling a mesh.
    """

    points: Float64
    normals: Float32 | None = None
    colors: UInt8 | None = None
    labels: Bool | None = None
    grid: tuple[int, int] | None = None
    valid: Bool | None = None
    source: Path | None = None
    dropped: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.points)

    @property
    def name(self) -> str:
        """The file's name without folder, or "scan" for one made in memory."""
        return "scan" if self.source is None else self.source.name


@dataclass(frozen=True, eq=False)
class Region:
    """One connected defect, in the scan's frame and unit.

    index: (K,) int64, the scan's points in it. center and extent: (3,), the middle and the edge
    lengths of the axis-aligned box around them. size: the box's diagonal. area_share: its share of
    the scanned surface, 0 to 1. peak and mean: of the point scores. kind and kind_probability: what
    the detector calls it, None for one that tells no kinds. height: how far it lies at most from
    the surface around it, positive outside the material, negative for a dent, None where no surface
    goes around it (see geometry/height.py). area: of the surface, in the scan's squared unit.
    """

    index: Int64
    center: Float64
    extent: Float64
    size: float
    area_share: float
    peak: float
    mean: float
    kind: str | None = None
    kind_probability: float | None = None
    height: float | None = None
    area: float | None = None


@dataclass(frozen=True)
class Promise:
    """What thresholds from the user's own good scans keep.

    source: the calibration's file. scans: how many good scans it is from. false_alarms: the highest
    probability, 0 to 1, of a false alarm. guarantee: what exactly is promised, in words.
    """

    source: str
    scans: int
    false_alarms: float
    guarantee: str


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a detector says of a scan.

    score: 0 to 1, how likely the scan has a defect. defective: score >= threshold. point_scores:
    (N,) float32 in [0, 1], one per point of `scan`, in its order. regions: strongest first. prompt:
    the kind of defect that was asked for, which all of this is about; None for any kind. promise:
    what the thresholds keep if they are from a calibration; None for the detector's own.
    """

    scan: Scan
    score: float
    point_scores: Float32
    regions: tuple[Region, ...]
    threshold: float
    detector: str
    point_threshold: float = 0.5
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
    prompt: str | None = None
    promise: Promise | None = None

    @property
    def defective(self) -> bool:
        """Whether the score reaches the threshold."""
        return self.score >= self.threshold
