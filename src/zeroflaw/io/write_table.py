"""Scores of a scan's points as tables: CSV for people and spreadsheets, NPZ for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroflaw.io.atomic import replacing
from zeroflaw.types import Float64, Inspection, Int64

BLOCK = 65_536


def write_csv(path: Path, inspection: Inspection) -> None:
    """Write one row per point, in the scan's order: x, y, z, score, region.

    Coordinates are written so that they read back the same; region counts from 1, 0 outside all.
    Raises ZeroflawError.
    """
    points, scores = inspection.scan.points, inspection.point_scores
    region = region_of_points(inspection)
    with replacing(path) as file:
        file.write(b"x,y,z,score,region\n")
        for start in range(0, len(points), BLOCK):
            rows = slice(start, start + BLOCK)
            text = "".join(
                f"{x!r},{y!r},{z!r},{score:.6g},{number}\n"
                for (x, y, z), score, number in zip(
                    points[rows].tolist(), scores[rows].tolist(), region[rows].tolist(), strict=True
                )
            )
            file.write(text.encode("ascii"))


def write_npz(path: Path, inspection: Inspection) -> None:
    """Write the scan with its scores and regions as arrays: what `read` reads back, and
    `point_scores`, `region`, `score`, `threshold`; and of each region `region_kind` ("" for none),
    `region_kind_probability`, `region_height` and `region_area` (nan for none). Raises
    ZeroflawError.
    """
    scan, regions = inspection.scan, inspection.regions
    optional = {
        "normals": scan.normals,
        "colors": scan.colors,
        "labels": scan.labels,
        "valid": scan.valid,
        "grid": None if scan.grid is None else np.array(scan.grid),
    }
    arrays: dict[str, NDArray[Any]] = {
        "points": scan.points,
        "point_scores": inspection.point_scores,
        "region": region_of_points(inspection),
        "score": np.array(inspection.score),
        "threshold": np.array(inspection.threshold),
        "region_kind": np.array([region.kind or "" for region in regions], dtype=np.str_),
        "region_kind_probability": _numbers([region.kind_probability for region in regions]),
        "region_height": _numbers([region.height for region in regions]),
        "region_area": _numbers([region.area for region in regions]),
        **{name: array for name, array in optional.items() if array is not None},
    }
    with replacing(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _numbers(values: list[float | None]) -> Float64:
    """The values as an array, nan for None."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def region_of_points(inspection: Inspection) -> Int64:
    """Which region each point lies in (N,), from 1; 0 outside all."""
    number: Int64 = np.zeros(len(inspection.scan), dtype=np.int64)
    for place, region in enumerate(inspection.regions, start=1):
        number[region.index] = place
    return number
