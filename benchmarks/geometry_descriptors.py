"""Time normals, FPFH, dense descriptors and regions beside what a user would pick instead.

Prints a Markdown table: best of several runs, in seconds, on a seeded curved surface; ours and
the rival's runs take turns, so that other load falls on both. Open3D is left out where it is not
installed. Run it with

    PYTHONPATH=src python benchmarks/geometry_descriptors.py > FILE
"""

from __future__ import annotations

import importlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zeroflaw.geometry.descriptors import normals
from zeroflaw.geometry.fpfh import fpfh
from zeroflaw.geometry.moments import DESCRIPTOR_NAMES, local_descriptors
from zeroflaw.geometry.regions import describe_regions
from zeroflaw.log import machine
from zeroflaw.types import Scan

RUNS = 4
# Points, radius of normals, radius of FPFH.
SETTINGS = ((10_000, 0.05, 0.1), (10_000, 0.15, 0.3), (100_000, 0.02, 0.03), (100_000, 0.05, 0.1))

Points = NDArray[np.float64]
Work = Callable[[], object]
Row = tuple[str, Work, str, Work | None]


def main() -> None:
    """Print the processor and the table."""
    open3d = installed("open3d")
    version = "not installed" if open3d is None else str(open3d.__version__)
    print("# Normals, FPFH, dense descriptors, regions\n")
    print(f"{machine()}; Python {platform.python_version()}, NumPy {np.__version__}, ", end="")
    print(f"Open3D {version}. Best of {RUNS} runs, seconds, all cores unless said. ", end="")
    print(f"Load of the machine at the start: {os.getloadavg()[0]:.1f}.\n")
    print("| what | ours | instead | its time | its time / ours |")
    print("| :--- | ---: | :--- | ---: | ---: |")
    rows = [*normal_rows(open3d), *fpfh_rows(open3d), *dense_rows(), *region_rows(open3d)]
    for what, ours, rival, theirs in rows:
        mine, other = race(ours, theirs)
        cells = ("", "") if theirs is None else (f"{other:.3f}", f"{other / mine:.1f}")
        print(f"| {what} | {mine:.3f} | {rival} | {cells[0]} | {cells[1]} |", flush=True)


def normal_rows(open3d: Any) -> Iterator[Row]:
    """Rows of normals from at most 30 neighbours within a radius."""
    for size, radius, _ in SETTINGS:
        points = surface(size)

        def theirs(points: Points = points, radius: float = radius) -> object:
            cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
            return cloud.estimate_normals(open3d.geometry.KDTreeSearchParamHybrid(radius, 30))

        what = f"normals of {size:,}, radius {radius}"
        yield what, partial(normals, points, radius), "Open3D", theirs if open3d else None


def fpfh_rows(open3d: Any) -> Iterator[Row]:
    """Rows of FPFH from at most 100 neighbours within a radius."""
    for size, near, far in SETTINGS:
        points = surface(size)
        unit = normals(points, near)

        def theirs(points: Points = points, unit: Any = unit, far: float = far) -> object:
            vectors = open3d.utility.Vector3dVector
            cloud = open3d.geometry.PointCloud(vectors(points))
            cloud.normals = vectors(unit.astype(np.float64))
            search = open3d.geometry.KDTreeSearchParamHybrid(far, 100)
            return open3d.pipelines.registration.compute_fpfh_feature(cloud, search)

        what = f"FPFH of {size:,}, radius {far}"
        ours = partial(fpfh, points, unit, far)
        yield what, ours, "Open3D", theirs if open3d else None


def dense_rows() -> Iterator[Row]:
    """Rows of the dense local descriptors, which have no rival."""
    for size in (20_000, 100_000):
        points = surface(size)
        what = f"{len(DESCRIPTOR_NAMES)} local descriptors of {size:,}, one core"
        yield what, partial(local_descriptors, points), "", None


def region_rows(open3d: Any) -> Iterator[Row]:
    """Rows of regions of a large scan of which three spots, 5 %, are marked."""
    points = surface(1_000_000)
    scores = np.zeros(len(points), dtype=np.float32)
    for spot in (0, 1, 2):
        scores[np.linalg.norm(points - points[spot], axis=1) < 0.17] = 0.9
    scan, marked = Scan(points), points[scores > 0.5]

    def theirs() -> object:
        cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(marked))
        return cloud.cluster_dbscan(0.005, 2)

    what = f"regions of {len(points):,} points, {len(marked):,} marked"
    rival = "Open3D's DBSCAN of the marked points"
    yield what, lambda: describe_regions(scan, scores, 0.5), rival, theirs if open3d else None


def race(ours: Work, theirs: Work | None) -> tuple[float, float]:
    """Shortest times of both, run in turns."""
    best = [np.inf, np.inf]
    for _ in range(RUNS):
        for place, work in enumerate((ours, theirs)):
            if work is not None:
                start = time.perf_counter()
                work()
                best[place] = min(best[place], time.perf_counter() - start)
    return best[0], best[1]


def surface(size: int) -> Points:
    """Random points on a waved ellipsoid with a little noise."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(size, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    waves = 1 + 0.1 * np.sin(5 * points[:, :1])
    return np.asarray(points * (1.0, 0.7, 0.4) * waves + rng.normal(0, 0.001, size=(size, 3)))


def installed(name: str) -> Any:
    """The module, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    main()
