"""NPY and NPZ files: arrays of points, and what this package writes."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from zeroflaw.io.columns import ScanColumns
from zeroflaw.io.rows import check_promise
from zeroflaw.io.sampling import Sampling
from zeroflaw.io.source import EXPORT_AGAIN, bytes_left, fill, opened, said_by
from zeroflaw.io.validate import checked_scan, scan_from_array
from zeroflaw.types import Scan, ScanError

POINT_NAMES = ("points", "xyz", "pos", "arr_0")
MOST_DIMENSIONS = 3
USUAL_RATIO = 100  # more than points that differ ever reach
LEAST_BOMB = 1 << 28  # bytes that are no danger, however small the archive
HIGHEST_RATIO = 1032  # that deflate can reach


def read_npy(path: Path, sampling: Sampling | None = None) -> Scan:
    """The points in an NPY file: (N, 3 or more), (rows, columns, 3), or fields x, y, z.

    Raises ScanError.
    """
    del sampling  # of meshes only
    with opened(path) as file:
        array = read_array(file, bytes_left(file), path, "")
    assert array is not None
    if array.dtype.names:
        columns = ScanColumns(array.dtype.names, array.size, path)
        columns.put(0, array.reshape(-1))
        return columns.scan()
    return scan_from_array(array, path)


def read_npz(path: Path, sampling: Sampling | None = None) -> Scan:
    """The scan in an NPZ file: its array `points`, and with it, where they are there, `normals`,
    `colors`, `labels`, `grid` and `valid`. Raises ScanError.
    """
    del sampling  # of meshes only
    with opened(path) as file:
        arrays = read_archive(file, path)
    key = next((name for name in POINT_NAMES if name in arrays), None)
    if key is None and len(arrays) == 1:
        key = next(iter(arrays))
    if key is None:
        listed = ", ".join(list(arrays)[:12]) or "none"
        raise ScanError(path, f"its arrays are {listed}", "expected one called points")
    points = arrays[key]
    count = len(points) if points.ndim == 2 else -1
    bare = scan_from_array(points, path)
    parts = {
        "normals": rows_of(arrays, "normals", (count, 3), "fiu", path),
        "colors": rows_of(arrays, "colors", (count, 3), "u", path),
        "labels": rows_of(arrays, "labels", (count,), "biu", path),
    }
    if all(part is None for part in parts.values()):
        return with_grid(bare, arrays, path)
    normals, colors, labels = parts["normals"], parts["colors"], parts["labels"]
    scan = checked_scan(
        np.asarray(points[:, :3], dtype=np.float64, order="C"),
        normals=None if normals is None else normals.astype(np.float32),
        colors=None if colors is None else colors.astype(np.uint8),
        labels=None if labels is None else labels.astype(bool),
        source=path,
        notes=bare.notes if points.shape[1] > 3 else (),
    )
    return with_grid(scan, arrays, path)


def rows_of(
    arrays: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...], kinds: str, path: Path
) -> NDArray[Any] | None:
    """An array with one row per point, None if it is not there. Raises ScanError."""
    array = arrays.get(name)
    if array is None or array.ndim != len(shape):
        return None
    if array.shape != shape or array.dtype.kind not in kinds:
        found = f"{array.dtype} of shape {array.shape}"
        raise ScanError(path, f"{name} is {found}", f"expected one row per point, {shape}")
    return array


def with_grid(scan: Scan, arrays: dict[str, NDArray[Any]], path: Path) -> Scan:
    """The scan with the grid that its points come from. Raises ScanError."""
    valid, grid = arrays.get("valid"), arrays.get("grid")
    if valid is None or scan.grid is not None:
        return scan
    rows = len(scan) if scan.valid is None else len(scan.valid)
    shape = None if grid is None else tuple(int(length) for length in grid.reshape(-1))
    cells = valid.size if shape is None else int(np.prod(shape))
    if valid.dtype != bool or valid.ndim != 1 or valid.sum() != rows or cells != valid.size:
        raise ScanError(path, "valid and grid do not fit the points", EXPORT_AGAIN)
    if shape is not None and len(shape) != 2:
        raise ScanError(path, f"grid has {len(shape)} numbers", "expected rows and columns")
    kept = valid.copy()
    if scan.valid is not None:
        kept[valid] = scan.valid
    return replace(scan, valid=kept, grid=None if shape is None else (shape[0], shape[1]))


def read_archive(file: BinaryIO, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of numbers in an NPZ file, by name. Raises ScanError."""
    arrays = {}
    try:
        with zipfile.ZipFile(file) as archive:
            promised = sum(member.file_size for member in archive.infolist())
            if promised > max(LEAST_BOMB, USUAL_RATIO * path.stat().st_size):
                raise zipfile.BadZipFile(f"it unfolds to {promised} bytes")
            for member in archive.infolist():
                name, dot, ending = member.filename.rpartition(".")
                if ending != "npy" or not dot:
                    continue
                if member.file_size > HIGHEST_RATIO * max(member.compress_size, 1):
                    raise zipfile.BadZipFile(f"{name} promises too many bytes")
                content = io.BytesIO(archive.read(member))
                size = content.getbuffer().nbytes
                array = read_array(content, size, path, f"array {name}", numbers_only=False)
                if array is not None:
                    arrays[name] = array
    except (ScanError, MemoryError):
        raise
    except Exception as error:  # of many kinds, from a damaged or an encrypted archive
        problem = f"the archive is damaged ({said_by(error)})"
        raise ScanError(path, problem, "save it again with numpy.savez") from None
    return arrays


def read_array(
    file: BinaryIO, size: int, path: Path, place: str, *, numbers_only: bool = True
) -> NDArray[Any] | None:
    """The array of a file of `size` bytes; None for other things than numbers, if they may be.

    Raises ScanError.
    """
    try:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
    except Exception as error:  # numpy has the header parsed as Python: anything may come
        raise ScanError(
            path, f"cannot read its header ({said_by(error)})", EXPORT_AGAIN, place
        ) from None
    if dtype.hasobject or (dtype.kind not in "fiub" and not dtype.names):
        if not numbers_only:
            return None
        raise ScanError(
            path, f"holds {dtype}, not numbers", "save an array (N, 3) of floats", place
        )
    if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0:
        if not numbers_only:
            return None
        shown = " × ".join(map(str, shape))[:60]
        raise ScanError(path, f"has the shape {shown}", "save an array (N, 3)", place)
    count = math.prod(shape)
    left = size - file.tell()
    check_promise(left, count * dtype.itemsize, f"{count} values", path, place=place or "header")
    if left != count * dtype.itemsize:
        raise ScanError(
            path,
            f"{left} bytes of values, but the header promises {count * dtype.itemsize}",
            f"its header is wrong: {EXPORT_AGAIN}",
            place,
        )
    values: NDArray[Any] = np.empty(count, dtype=dtype)
    fill(file, values, path)
    return values.reshape(shape, order="F" if fortran else "C")
