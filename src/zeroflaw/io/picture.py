"""PNG files, and the photograph that goes with an organised scan, pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroflaw.io.source import EXPORT_AGAIN, opened, said_by
from zeroflaw.types import Scan, ScanError, UInt8

MOST_PIXELS = 1 << 26
POINTS_FOLDER, PHOTOGRAPHS_FOLDER = "xyz", "rgb"  # side by side, as in MVTec 3D-AD


def read_png(path: Path) -> NDArray[Any]:
    """Return the pixels of a PNG file, (rows, columns) or (rows, columns, channels).

    Of 8 or 16 bits, as they are stored. Raises ScanError.
    """
    from PIL import Image

    with opened(path) as file:
        try:
            with Image.open(file, formats=("PNG",)) as image:
                if image.width * image.height > MOST_PIXELS:
                    problem = f"promises {image.width} × {image.height} pixels"
                    raise ScanError(path, problem, EXPORT_AGAIN)
                return np.asarray(image.convert("RGB") if image.mode == "P" else image)
        except (ScanError, MemoryError):
            raise
        except Exception as error:  # of any kind, from a damaged file
            problem = f"cannot be read as PNG ({said_by(error)})"
            raise ScanError(path, problem, EXPORT_AGAIN) from None


def read_photograph(path: Path, shape: tuple[int, int]) -> UInt8:
    """Return the colours of a photograph of so many rows and columns, (rows, columns, 3).

    A grey one has three equal channels; how opaque pixels are is ignored. Raises ScanError for
    another size and for pixels of more than 8 bits.
    """
    values = read_png(path)
    if values.shape[:2] != shape:
        found, wanted = (" × ".join(map(str, size)) for size in (values.shape[:2], shape))
        remedy = "expected a photograph with a pixel for each of the scan's"
        raise ScanError(path, f"has {found} pixels, its scan {wanted}", remedy)
    if values.dtype != np.uint8:
        raise ScanError(path, f"its pixels are {values.dtype}", "save it with 8 bits per channel")
    values = values[..., None] if values.ndim == 2 else values
    colors = values[..., :3] if values.shape[2] >= 3 else values[..., :1]
    return np.array(np.broadcast_to(colors, (*shape, 3)))


def with_photograph(scan: Scan, path: Path) -> Scan:
    """Return an organised scan whose points have the colours of its photograph.

    Raises ScanError as `read_photograph` does.
    """
    assert scan.grid is not None
    colors = read_photograph(path, scan.grid).reshape(-1, 3)
    return replace(scan, colors=colors if scan.valid is None else colors[scan.valid])


def photograph_of(path: Path) -> Path | None:
    """Return where the photograph of an organised scan's file lies, None where there is none.

    It is called like the scan but for its suffix .png, and lies beside it, or in a folder `rgb`
    beside the scan's folder `xyz`.
    """
    name = f"{path.stem}.png"
    places = [path.with_name(name)]
    if path.parent.name == POINTS_FOLDER:
        places.append(path.parent.with_name(PHOTOGRAPHS_FOLDER) / name)
    return next((place for place in places if place.is_file()), None)
