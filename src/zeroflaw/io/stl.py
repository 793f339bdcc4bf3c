"""STL files, binary and text: triangles, sampled."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import BinaryIO

import numpy as np

from zeroflaw.io.lines import Lines
from zeroflaw.io.sampling import Sampling, sample_mesh
from zeroflaw.io.source import EXPORT_AGAIN, bytes_left, fill, opened
from zeroflaw.types import Float64, Scan, ScanError

HEADER_BYTES = 80
TRIANGLE = np.dtype([("normal", "<f4", (3,)), ("corner", "<f4", (3, 3)), ("attribute", "<u2")])
BLOCK = 4_096
FACET = (b"outer", b"vertex", b"vertex", b"vertex", b"endloop", b"endfacet")
"""How the lines of a facet begin, after its first."""


def read_stl(path: Path, sampling: Sampling | None = None) -> Scan:
    """Points on the triangles of an STL file, evenly by area. Raises ScanError."""
    with opened(path) as file:
        size = bytes_left(file)
        start = file.read(HEADER_BYTES + 4)
        count = int.from_bytes(start[HEADER_BYTES:], "little")
        needed = HEADER_BYTES + 4 + count * TRIANGLE.itemsize
        if len(start) == HEADER_BYTES + 4 and size == needed:
            corners = binary_corners(file, count, path)
        elif start.lstrip()[:5].lower() == b"solid":
            file.seek(0)
            corners = text_corners(Lines(file, path))
        else:
            raise ScanError(
                path,
                f"{count} triangles need {needed} bytes, the file has {size}",
                f"it is cut off or damaged: {EXPORT_AGAIN}",
                "header",
            )
    faces = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    return sample_mesh(corners, faces, sampling or Sampling(), path)


def binary_corners(file: BinaryIO, count: int, path: Path) -> Float64:
    """The corners (3 × count, 3) of binary triangles. Raises ScanError."""
    corners: Float64 = np.empty((count, 3, 3))
    block = np.empty(min(count, BLOCK), dtype=TRIANGLE)
    for start in range(0, count, BLOCK):
        part = block[: min(BLOCK, count - start)]
        fill(file, part, path)
        corners[start : start + len(part)] = part["corner"]
    return corners.reshape(-1, 3)


def text_corners(lines: Lines) -> Float64:
    """The corners (3 × F, 3) of triangles in text, of one or more solids. Raises ScanError."""
    corners = array("d")
    expected: list[bytes] = []
    inside = False
    while (line := lines.next_line()) is not None:
        words = line.lower().split()
        if not words:
            continue
        if expected:
            good = words[0] == expected.pop()
        elif inside and words[0] == b"facet":
            good, expected = True, list(reversed(FACET))
        else:
            good = words[0] == (b"endsolid" if inside else b"solid")
            inside = not inside
        if good and words[0] == b"vertex":
            good = add_numbers(words[1:], corners)
        if not good:
            found = line.strip()[:40].decode("latin-1")
            raise lines.error(
                f"cannot read {found!r}",
                f"the file is damaged: {EXPORT_AGAIN}",
                line=lines.number - 1,
            )
    if inside:
        raise lines.error("the file ends before its solid does", EXPORT_AGAIN)
    return np.array(corners, dtype=np.float64).reshape(-1, 3)


def add_numbers(words: list[bytes], numbers: array[float]) -> bool:
    """Append three numbers; False if they are none."""
    try:
        x, y, z = words
        numbers.extend((float(x), float(y), float(z)))
    except ValueError:
        return False
    return True
