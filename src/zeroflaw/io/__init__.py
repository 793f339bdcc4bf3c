"""Scans in and results out: a reader for each file format, and writers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from zeroflaw.io.arrays import read_npy, read_npz
from zeroflaw.io.content import check_content
from zeroflaw.io.gltf import read_gltf
from zeroflaw.io.organized import read_tiff
from zeroflaw.io.pcd import read_pcd
from zeroflaw.io.ply import read_ply
from zeroflaw.io.polygons import read_obj, read_off
from zeroflaw.io.sampling import Sampling
from zeroflaw.io.source import opened
from zeroflaw.io.stl import read_stl
from zeroflaw.io.text import read_text
from zeroflaw.io.validate import MINIMUM_POINTS, checked_scan, scan_from_array
from zeroflaw.io.write_json import summary, write_json
from zeroflaw.io.write_ply import write_ply, write_scan
from zeroflaw.io.write_table import write_csv, write_npz
from zeroflaw.types import Inspection, Scan, ScanError, ZeroflawError

__all__ = [
    "MINIMUM_POINTS",
    "READERS",
    "WRITERS",
    "Sampling",
    "checked_scan",
    "read",
    "scan_from_array",
    "summary",
    "write_csv",
    "write_json",
    "write_npz",
    "write_ply",
    "write_scan",
]

Reader = Callable[[Path, Sampling], Scan]
Writer = Callable[[Path, Inspection], None]

READERS: dict[str, Reader] = {
    ".asc": read_text,
    ".csv": read_text,
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".npy": read_npy,
    ".npz": read_npz,
    ".obj": read_obj,
    ".off": read_off,
    ".pcd": read_pcd,
    ".ply": read_ply,
    ".stl": read_stl,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".txt": read_text,
    ".xyz": read_text,
}
WRITERS: dict[str, Writer] = {
    ".csv": write_csv,
    ".json": write_json,
    ".npz": write_npz,
    ".ply": write_ply,
}


def read(path: str | Path, *, points: int = 100_000, seed: int = 0) -> Scan:
    """The scan in a file, in its own frame and unit; the suffix says the format.

    points, seed: a mesh is sampled to so many points, evenly by area. Points that are not finite
    are dropped and counted. Raises ScanError, with file, place and remedy, for a file that cannot
    be used.
    """
    path = Path(path)
    if points < MINIMUM_POINTS:
        raise ZeroflawError(f"points={points}: a mesh is sampled to at least {MINIMUM_POINTS}")
    with opened(path) as file:
        start = file.read(512)
    suffix = path.suffix.lower()
    check_content(path, start, READERS)
    try:
        return READERS[suffix](path, Sampling(points, seed))
    except MemoryError:
        raise ScanError(
            path, "needs more memory than there is", "thin the scan or use a larger machine"
        ) from None
