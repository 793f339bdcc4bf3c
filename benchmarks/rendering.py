"""Time nine views of a scan for view-based detectors beside what a user would pick instead.

Prints a Markdown table: best of several runs, in seconds, and the peak of memory, each size in a
process of its own. Ours gives shade, depth, every point's pixel and whether it is visible, with the
normals that shading needs; what these cost is listed beside it. PyVista, drawn off screen at the
same size, is given normals, and gives shade and depth alone; it is left out where it is not
installed. Run it with

    PYTHONPATH=src python benchmarks/rendering.py > benchmarks/results/rendering.md

On a busy machine, `--processor-time` counts the seconds of all threads instead, waiting left out.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zeroflaw.geometry.backproject import back_project
from zeroflaw.geometry.cameras import PRESETS
from zeroflaw.geometry.view_frame import in_pixels, view_normals
from zeroflaw.geometry.view_render import projected_mask, render_views
from zeroflaw.log import machine
from zeroflaw.methods.smoothing import smooth_points
from zeroflaw.types import Scan

SIZES = {10_000: None, 100_000: 0.15, 1_000_000: 1.2}  # points: seconds the nine views may take
SIZE = 336
REACH = 2  # pixels to each side of a point's own: 12 of 1024, as ours and the papers draw it
SPELL = 2.0  # seconds
Real = NDArray[Any]


def main() -> None:
    """Print the tables; with a number of points, measure them and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--processor-time", action="store_true", help="for busy machines")
    parser.add_argument("--points", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    clock = time.process_time if options.processor_time else time.perf_counter
    if options.points:
        print(json.dumps(measure(options.points, clock)))
        return
    load = os.getloadavg()[0]
    kind = "seconds of processor time, all threads" if options.processor_time else "seconds"
    print("# Nine views\n")
    print(f"{machine()}, {torch.get_num_threads()} threads; Python {platform.python_version()},")
    print(f"NumPy {np.__version__}, PyTorch {torch.__version__}; {SIZE} × {SIZE} pixels, float64")
    print(f"points. Best of several runs, {kind}. Others' load at the start: {load:.1f}.\n")
    names = ("points", "views", "target", "normals given", "normals", "mask")
    print(f"| {' | '.join(names)} | back to points | smoothed | memory |")
    print("| ---: |" + " ---: |" * 8)
    found = {count: in_own_process(count, options.processor_time) for count in SIZES}
    for count, row in found.items():
        target = SIZES[count] or "–"
        steps = [f"{row[name]:.3f}" for name in ("views", "normals", "mask", "back", "smooth")]
        print(f"| {count:,} | {row['whole']:.3f} | {target} | {' | '.join(steps)} ", end="")
        print(f"| {row['memory']:.0f} MB |")
    print(
        "\nThe views are shade, depth, pixels and visible points; the next two columns are parts of"
    )
    print("it, each at its best. Scores of pixels go back to the points and are smoothed in space.")
    print("Memory is the process's peak during the views above its peak before. The")
    print(
        "alternatives are given normals, as ours is there, and give shade and depth alone; PyVista"
    )
    print("draws with the OpenGL that it finds, in software where there is no GPU.\n")
    print("| points | ours | instead | its time | its time / ours |")
    print("| ---: | ---: | :--- | ---: | ---: |")
    for count, row in found.items():
        for rival in ("PyVista off screen, shade and depth", "NumPy minimum.at, shade and depth"):
            time_, ratio = "not installed", ""
            if row.get(rival) is not None:
                time_, ratio = f"{row[rival]:.3f}", f"{row[rival] / row['views']:.1f}"
            print(f"| {count:,} | {row['views']:.3f} | {rival} | {time_} | {ratio} |")


def measure(count: int, clock: Callable[[], float]) -> dict[str, float | None]:
    """Seconds of each step and of the rivals, and MB that the views took above what was there."""
    points = surface(count)
    turns = PRESETS["around"]
    normals = view_normals(points)
    render_views(points[:1000], turns, SIZE, normals[:1000])
    before = peak_memory()
    views = render_views(points, turns, SIZE, normals)
    memory = peak_memory() - before
    labels = points[:, 2] > 0.3
    maps = torch.rand((9, SIZE, SIZE))
    carried = back_project(maps, views.pixel, views.visible, points)
    return {
        "memory": memory,
        "whole": best(clock, render_views, points, turns, SIZE),
        "views": best(clock, render_views, points, turns, SIZE, normals),
        "normals": best(clock, view_normals, points),
        "mask": best(clock, projected_mask, views, labels),
        "back": best(clock, back_project, maps, views.pixel, views.visible, points),
        "smooth": best(clock, smooth_points, carried, Scan(points), 4 / SIZE),
        "PyVista off screen, shade and depth": pyvista_time(points, normals, clock),
        "NumPy minimum.at, shade and depth": best(clock, splatted, points, normals),
    }


def splatted(points: Real, normals: Real) -> tuple[Real, Real]:
    """Shade and depth by a loop over the pixels of a point, as one would write it in NumPy."""
    turns = PRESETS["around"]
    place, deep = in_pixels(points, torch.from_numpy(turns).double(), SIZE)
    columns = place.numpy()
    wide = SIZE + 2 * REACH
    buffer = np.full((len(turns), wide * wide), np.int64(2) ** 62)
    for view, turn in enumerate(turns):
        right, up, toward = turn @ columns
        cell = (SIZE / 2 - up).astype(np.int64) * wide + (SIZE / 2 + right).astype(np.int64)
        depth = ((deep - toward) * 1000).astype(np.int64)
        packed = (depth << 32) | np.arange(len(points))
        for down in range(2 * REACH + 1):
            for beside in range(2 * REACH + 1):
                np.minimum.at(buffer[view], cell + down * wide + beside, packed)
    empty = buffer == np.int64(2) ** 62
    facing = np.abs(np.einsum("vi,ni->vn", turns[:, 2], normals))
    index = np.where(empty, 0, buffer & 0xFFFFFFFF)
    shade = np.where(empty, 1, np.take_along_axis(facing, index, axis=1))
    return shade, np.where(empty, 1, (buffer >> 32) / 1000)


def pyvista_time(points: Real, normals: Real, clock: Callable[[], float]) -> float | None:
    """Seconds in which PyVista draws the nine views, or None where it is not installed."""
    try:
        pyvista = importlib.import_module("pyvista")
    except ImportError:
        return None
    cloud = pyvista.PolyData(points)
    cloud.point_data.active_normals = normals
    plotter = pyvista.Plotter(off_screen=True, window_size=(SIZE, SIZE))
    plotter.set_background("white")
    plotter.add_points(cloud, color=[0.7] * 3, point_size=2 * REACH + 1, lighting=True)
    plotter.enable_parallel_projection()

    def draw() -> None:
        for right, up, toward in PRESETS["around"].tolist():
            del right
            plotter.camera_position = [[4 * value for value in toward], (0, 0, 0), up]
            plotter.camera.parallel_scale = 1.1
            plotter.screenshot(None, return_img=True)
            plotter.get_image_depth()

    plotter.show(auto_close=False)
    draw()
    return best(clock, draw)


def surface(size: int, seed: int = 0) -> Real:
    """Points of a dented, stretched sphere, unevenly dense."""
    points = np.random.default_rng(seed).normal(size=(size, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    dented: Real = points * [1, 0.7, 0.4] * (1 + 0.1 * np.sin(5 * points[:, :1]))
    return dented


def best(
    clock: Callable[[], float], work: Callable[..., object], *given: Any, runs: int = 5
) -> float:
    """Return the shortest time, in seconds, of so many runs or as many as begin within SPELL."""
    times: list[float] = []
    while not times or (len(times) < runs and sum(times) < SPELL):
        begin = clock()
        work(*given)
        times.append(clock() - begin)
    return min(times)


def in_own_process(count: int, processor_time: bool) -> dict[str, Any]:
    """Measure in a fresh process, so that its memory is its own."""
    command = [sys.executable, str(Path(__file__)), "--points", str(count)]
    command += ["--processor-time"] if processor_time else []
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def peak_memory() -> float:
    """Return the most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
