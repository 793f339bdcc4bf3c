"""What a file is by its first bytes, where its suffix says something else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zeroflaw.types import ScanError

# First bytes, name, suffixes that fit.
SIGNATURES: tuple[tuple[bytes, str, tuple[str, ...]], ...] = (
    (b"ply\n", "PLY", (".ply",)),
    (b"ply\r", "PLY", (".ply",)),
    (b"# .PCD", "PCD", (".pcd",)),
    (b"VERSION ", "PCD", (".pcd",)),
    (b"\x93NUMPY", "NPY", (".npy",)),
    (b"PK\x03\x04", "ZIP archive", (".npz",)),
    (b"II*\0", "TIFF", (".tif", ".tiff")),
    (b"MM\0*", "TIFF", (".tif", ".tiff")),
    (b"II+\0", "TIFF", (".tif", ".tiff")),
    (b"MM\0+", "TIFF", (".tif", ".tiff")),
    (b"glTF", "GLB", (".glb",)),
    (b"OFF\n", "OFF", (".off",)),
    (b"OFF\r", "OFF", (".off",)),
    (b"solid ", "STL", (".stl",)),
    (b"\x89PNG", "PNG picture", ()),
    (b"\xff\xd8\xff", "JPEG picture", ()),
    (b"%PDF", "PDF", ()),
    (b"\x1f\x8b", "gzip archive", ()),
    (b"LASF", "LAS", ()),
    (b"ASTM-E57", "E57", ()),
    (b"<?xml", "XML", ()),
)


def check_content(path: Path, start: bytes, known: Iterable[str]) -> None:
    """Raise ScanError if no reader knows the suffix, or if `start` belongs to another format."""
    suffix = path.suffix.lower()
    known = sorted(known)
    name, fitting = signature(start)
    if suffix in fitting:
        return
    if name == "gzip archive" or (name == "ZIP archive" and b".npy" not in start):
        raise ScanError(path, f"is a {name}", f"unpack it; readable are {', '.join(known)}")
    if name and (suffix in known or fitting):
        is_one = f"its content is {name}" + (f", not {suffix}" if suffix else "")
        if fitting:
            raise ScanError(path, is_one, f"rename it to {path.stem}{fitting[0]}")
        raise ScanError(path, is_one, f"export it as one of {', '.join(known)}")
    if suffix not in known:
        problem = f"no reader knows the suffix {suffix}" if suffix else "has no suffix"
        raise ScanError(path, problem, f"readable are {', '.join(known)}")


def signature(start: bytes) -> tuple[str, tuple[str, ...]]:
    """The format by its first bytes, and its suffixes; empty if they say nothing."""
    for first, name, suffixes in SIGNATURES:
        if start.startswith(first):
            return name, suffixes
    return "", ()
