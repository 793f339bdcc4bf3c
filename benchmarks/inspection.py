"""Time an inspection from the file to its results, step by step, with the peak of memory.

What a user would pick instead for the picture is matplotlib's 3D scatter, four times; benchmarks of
readers, writers, geometry and BTP have their own alternatives. For the scores of an unknown part
there is no ready one that runs without a GPU. Run it with

    PYTHONPATH=src python benchmarks/inspection.py > benchmarks/results/inspection.md
"""

from __future__ import annotations

import contextlib
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zeroflaw.log import machine
from zeroflaw.types import Inspection, Scan

SIZES = {100_000: 1.0, 1_000_000: 3.0}  # points: seconds that the whole may take
MEMORY = 1.5  # GB that the whole may take
RUNS = 5
STEPS = ("read", "scores", "regions", "PLY", "PNG", "JSON")


def main() -> None:
    """Print the table; each size runs in a process of its own, so that its memory is its own."""
    import torch

    detector = sys.argv[1] if len(sys.argv) > 1 else "compact"
    print("# Inspect: from file to results\n")
    print(f"{machine()}, {torch.get_num_threads()} threads; PyTorch {torch.__version__}; ", end="")
    print(f"detector {detector}.\nBest of {RUNS} runs, seconds; the scan is a binary PLY.\n")
    titles = ["points", "whole", "target", "peak memory", "the command, cold", *STEPS]
    print("| " + " | ".join(titles) + " |\n| " + " | ".join("---:" for _ in titles) + " |")
    rivals = {}
    for count, target in SIZES.items():
        found = in_own_process("measure", detector, str(count))
        steps, rivals[count] = found["steps"], {**found["steps"], **found["rivals"]}
        whole = sum(steps.values())
        memory = f"{found['memory']:.2f} GB"
        cells = [f"{count:,}", f"{whole:.2f}", f"{target:.1f}", memory, f"{found['cold']:.2f}"]
        cells += [f"{steps[name]:.3f}" for name in STEPS]
        print("| " + " | ".join(cells) + " |", flush=True)
    print(
        f"\nThe target for memory is {MEMORY} GB. Cold: `zeroflaw inspect FILE --out DIR`, imports"
    )
    print("and all. PNG and PLY in the table above are whole files, on disk.\n")
    print("| step | points | ours | alternative | its time | its time / ours |")
    print("| :--- | ---: | ---: | :--- | ---: | ---: |")
    for count, times in rivals.items():
        rival, ours = times.get("matplotlib"), times["PNG"]
        cells = ["not installed", ""]
        if rival is not None:
            cells = [f"{rival:.3f}", f"{rival / ours:.1f}"]
        print(f"| PNG | {count:,} | {ours:.3f} | matplotlib | " + " | ".join(cells) + " |")


def in_own_process(*arguments: str) -> Any:
    """What this file prints as JSON when called with these arguments."""
    command = [sys.executable, __file__, *arguments]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(shown.stdout)


def measure(name: str, count: int) -> dict[str, Any]:
    """Seconds of each step, peak memory in GB, the rivals' seconds and a cold command's."""
    from zeroflaw.detector import Detector
    from zeroflaw.geometry.regions import describe_regions
    from zeroflaw.io import WRITERS, read, write_scan
    from zeroflaw.reports.figures import write_heat_map

    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "part.ply"), Path(folder, "out")
        write_scan(path, part(count))
        out.mkdir()
        cold = time_cold(path, out, name)
        detector = Detector.load(name, "cpu")
        scan = read(path)
        found = detector.inspect(scan)
        steps = {"read": best(lambda: read(path)), "scores": best(lambda: detector.inspect(scan))}
        limit = found.point_threshold
        steps["regions"] = best(lambda: describe_regions(scan, found.point_scores, limit))
        steps["scores"] -= steps["regions"]
        steps["PLY"] = best(lambda: WRITERS[".ply"](out / "part_scores.ply", found))
        steps["PNG"] = best(lambda: write_heat_map(out / "part_heatmap.png", found))
        steps["JSON"] = best(lambda: WRITERS[".json"](out / "part.json", found))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rivals = time_rivals(path, out, found)
    return {"steps": steps, "memory": memory, "cold": cold, "rivals": rivals}


def time_cold(path: Path, out: Path, name: str) -> float:
    command = [sys.executable, "-m", "zeroflaw", "inspect", str(path), "--out", str(out)]
    command += ["--detector", name, "--device", "cpu"]
    return best(lambda: subprocess.run(command, check=True, capture_output=True), 2)


def time_rivals(path: Path, out: Path, found: Inspection) -> dict[str, float]:
    """Seconds of what a user would pick instead, where it is installed."""
    times: dict[str, float] = {}
    with contextlib.suppress(ImportError):
        figures: Any = importlib.import_module("matplotlib.figure")

        def draw() -> None:
            figure = figures.Figure(figsize=(9, 10), dpi=100)
            for number, azimuth in enumerate((30, 120, 210, 300), 1):
                axes = figure.add_subplot(2, 2, number, projection="3d")
                axes.view_init(25, azimuth)
                axes.scatter(*found.scan.points.T, c=found.point_scores, s=1, vmin=0, vmax=1)
            figure.savefig(out / "matplotlib.png")

        times["matplotlib"] = best(draw, 1)
    return times


def part(count: int) -> Scan:
    """A wavy ring with a dent, its surface sampled at random."""
    rng = np.random.default_rng(0)
    around, across = rng.uniform(0, 2 * np.pi, (2, count))
    radius = 12 + 1.5 * np.cos(5 * around)
    tube = radius + 4 * np.cos(across)
    points = np.stack([tube * np.cos(around), tube * np.sin(around), 4 * np.sin(across)], axis=1)
    distance = np.linalg.norm(points - (13.5, 0, 4), axis=1) / 2
    points[:, 2] -= np.where(distance < 1, (1 - distance**2) ** 2, 0)
    return Scan(points + rng.normal(0, 0.005, points.shape))


def best(call: Callable[[], object], runs: int = RUNS) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
