"""Organised TIFF files: one point per pixel, (0, 0, 0) where nothing was measured."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroflaw.io.picture import photograph_of, with_photograph
from zeroflaw.io.sampling import Sampling
from zeroflaw.io.source import EXPORT_AGAIN, opened, said_by
from zeroflaw.io.validate import checked_scan
from zeroflaw.types import Bool, Float64, Scan, ScanError

HIGHEST_RATIO = 1100  # that the lossless compressions of TIFF reach


def read_tiff(path: Path, sampling: Sampling | None = None) -> Scan:
    """The organised scan in a TIFF file of floats (rows, columns, 3). Raises ScanError.

    Its points have the colours of its photograph where one lies at its place (`photograph_of`). A
    note says so, or why the photograph is of no use.
    """
    del sampling  # of meshes only
    scan, photograph = organised_scan(read_image(path), path), photograph_of(path)
    if photograph is None:
        return scan
    try:
        scan, note = with_photograph(scan, photograph), f"its colours are from {photograph.name}"
    except ScanError as error:
        note = f"the photograph {photograph.name} was left out: {error.problem}"
    return replace(scan, notes=(*scan.notes, note))


def organised_scan(image: NDArray[Any], source: Path) -> Scan:
    """The scan of a picture (rows, columns, 3) whose pixels are points. Raises ScanError."""
    rows, columns = image.shape[:2]
    with np.errstate(invalid="ignore"):  # signalling NaN
        points: Float64 = image.reshape(-1, 3).astype(np.float64)
    measured: Bool = np.any(points != 0, axis=1)
    return checked_scan(points, grid=(rows, columns), measured=measured, source=source)


def read_image(path: Path) -> NDArray[Any]:
    """The first picture of a TIFF file, (rows, columns, 3). Raises ScanError."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with opened(path) as file:
        size = path.stat().st_size
        try:
            with tifffile.TiffFile(file) as tiff:
                page = tiff.pages.first
                shape, dtype = page.shape, page.dtype
                check_image(shape, dtype, path)
                ends = zip(page.dataoffsets, page.databytecounts, strict=False)
                if any(start + length > size for start, length in ends):
                    raise ScanError(path, "the file ends before its picture does", EXPORT_AGAIN)
                if page.nbytes > HIGHEST_RATIO * sum(page.databytecounts):
                    raise ScanError(path, "promises more pixels than it holds", EXPORT_AGAIN)
                image: NDArray[Any] = page.asarray()
                check_image(image.shape, image.dtype, path)
        except (ScanError, OSError, MemoryError):
            raise
        except Exception as error:  # of any kind, from a damaged file
            problem = f"cannot be read as TIFF ({said_by(error)})"
            raise ScanError(path, problem, EXPORT_AGAIN) from None
    return image


def check_image(shape: tuple[int, ...], dtype: Any, path: Path) -> None:
    """Raise ScanError unless each pixel is a point."""
    if len(shape) != 3 or shape[2] != 3 or dtype is None or dtype.kind != "f":
        shown = " × ".join(map(str, shape))[:40]
        raise ScanError(
            path,
            f"its picture is {dtype}, {shown}",
            "expected an organised scan: floats, rows × columns × 3",
        )
