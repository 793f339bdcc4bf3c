"""Time sampling, thinning and interpolation beside what a user would pick instead.

Prints a Markdown table: best of several runs, in seconds, on a seeded curved surface. Rivals that
are not installed (`fpsample`, `open3d`, `scikit-learn`) are left out. Run it with

    PYTHONPATH=src python benchmarks/geometry_sampling.py > benchmarks/results/geometry_sampling.md
"""

from __future__ import annotations

import importlib
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zeroflaw.geometry.neighbors import interpolate, knn
from zeroflaw.geometry.sample import farthest_point_sample, farthest_point_sample_batch
from zeroflaw.geometry.thin import thin
from zeroflaw.log import machine
from zeroflaw.types import Float32

PICKS = 2048
SPELL = 3.0
Real = NDArray[Any]
Row = tuple[str, float, str, float | None]


def main() -> None:
    """Print the processor and the table."""
    print("# Sampling, thinning, neighbours\n")
    print(f"{machine()}; Python {platform.python_version()}, NumPy {np.__version__}, ", end="")
    print(f"PyTorch {torch.__version__}. Best of several runs, seconds. ", end="")
    print(f"Others' load at the start: {os.getloadavg()[0]:.1f}.\n")
    print("| what | ours | instead | its time | its time / ours |")
    print("| :--- | ---: | :--- | ---: | ---: |")
    for what, ours, rival, theirs in [*sampling(), *thinning(), *interpolating(), *searching()]:
        time_, ratio = "not installed", ""
        if theirs is not None:
            time_, ratio = f"{theirs:.3f}", f"{theirs / ours:.1f}"
        print(f"| {what} | {ours:.3f} | {rival} | {time_} | {ratio} |", flush=True)


def sampling() -> list[Row]:
    """Rows of farthest point sampling: exact rivals only."""
    rows: list[Row] = []
    for size in (10_000, 100_000, 1_000_000):
        points = surface(size)
        what = f"farthest point sample, {PICKS} of {size:,}"
        ours = best(farthest_point_sample, points, PICKS)
        exact = best(farthest_point_sample, points.astype(np.float64), PICKS)
        rows.append((f"{what}, float32", ours, "ours in float64", exact))
        if size <= 100_000:
            batch = torch.from_numpy(points)[None]
            loop = best(farthest_point_sample_batch, batch, PICKS, runs=3)
            rows.append((what, ours, "plain loop, PyTorch", loop))
        rows.append((what, ours, "fpsample bucket_fps_kdline", fpsample_time(points)))
        rows.append((what, ours, "Open3D farthest_point_down_sample", open3d_time(points)))
    return rows


def thinning() -> list[Row]:
    """Rows of voxel thinning; Open3D is given the cell's size, ours finds it for the count."""
    points = surface(1_000_000).astype(np.float64)
    rows: list[Row] = []
    for count in (30_000, 100_000):
        thinned = thin(points, count)
        size = float(np.median(cKDTree(thinned.mean).query(thinned.mean, 2)[0][:, 1]))
        ours = best(thin, points, count)
        open3d = optional("open3d")
        theirs = None
        if open3d is not None:
            cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
            theirs = best(cloud.voxel_down_sample, size)
        what = f"thin 1,000,000 to {count:,} points"
        rows.append((what, ours, "Open3D voxel_down_sample, size given", theirs))
    return rows


def interpolating() -> list[Row]:
    """Rows of carrying scores from few points to a million."""
    points = surface(1_000_000).astype(np.float64)
    rng = np.random.default_rng(1)
    rows: list[Row] = []
    for count in (2048, 30_000):
        known = points[rng.choice(len(points), count, replace=False)]
        values = rng.random(count)
        ours = best(interpolate, known, values, points)
        what = f"interpolate 1,000,000 × 3 nearest of {count:,}"
        for workers, name in ((-1, "cKDTree, workers=-1"), (1, "cKDTree")):
            theirs = best(plain_interpolate, known, values, points, workers, runs=2)
            rows.append((what, ours, f"{name}, and weights", theirs))
        slow = sklearn_time(known, values, points)
        rows.append((what, ours, "scikit-learn KNeighborsRegressor, n_jobs=-1", slow))
    return rows


def searching() -> list[Row]:
    """Rows of finding each point's neighbours in its own cloud."""
    rows: list[Row] = []
    for size, k in ((100_000, 30), (1_000_000, 8)):
        points = surface(size).astype(np.float64)
        ours = best(knn, points, points, k, runs=2)
        theirs = best(plain_search, points, k, runs=2)
        rows.append((f"{k} nearest of {size:,}, to each", ours, "cKDTree, workers=-1", theirs))
    return rows


def plain_interpolate(known: Real, values: Real, queries: Real, workers: int) -> Real:
    """Return the means of the nearest values, weighed by 1/distance, with SciPy alone."""
    distance, index = cKDTree(known).query(queries, 3, workers=workers)
    weight = 1.0 / np.maximum(distance, 1e-12)
    mean: Real = (weight * values[index]).sum(axis=1) / weight.sum(axis=1)
    return mean


def plain_search(points: Real, k: int) -> object:
    """Return each point's neighbours with SciPy alone."""
    return cKDTree(points).query(points, k, workers=-1)


def sklearn_time(known: Real, values: Real, queries: Real) -> float | None:
    """Seconds of scikit-learn, or None where it is not installed."""
    sklearn = optional("sklearn.neighbors")
    if sklearn is None:
        return None
    model = sklearn.KNeighborsRegressor(3, weights="distance", n_jobs=-1)
    return best(lambda: model.fit(known, values).predict(queries), runs=1)


def fpsample_time(points: Float32) -> float | None:
    """Seconds of fpsample, or None where it is not installed."""
    fpsample = optional("fpsample")
    if fpsample is None:
        return None
    height = 5 if len(points) <= 10_000 else 7 if len(points) <= 100_000 else 9
    return best(fpsample.bucket_fps_kdline_sampling, points, PICKS, height)


def open3d_time(points: Float32) -> float | None:
    """Seconds of Open3D, or None where it is not installed."""
    open3d = optional("open3d")
    if open3d is None:
        return None
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points.astype(np.float64)))
    return best(cloud.farthest_point_down_sample, PICKS, runs=1 if len(points) > 100_000 else 3)


def optional(name: str) -> Any:
    """Return a module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def surface(size: int, seed: int = 0) -> Float32:
    """Points of a dented, stretched sphere, unevenly dense."""
    points = np.random.default_rng(seed).normal(size=(size, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points = points * [1, 0.7, 0.4] * (1 + 0.1 * np.sin(5 * points[:, :1]))
    return points.astype(np.float32)


def best(work: Callable[..., object], *given: Any, runs: int = 5) -> float:
    """Return the shortest time, in seconds, of so many runs or as many as fit into SPELL."""
    times: list[float] = []
    while len(times) < runs or sum(times) < SPELL:
        begin = time.perf_counter()
        work(*given)
        times.append(time.perf_counter() - begin)
    return min(times)


if __name__ == "__main__":
    main()
