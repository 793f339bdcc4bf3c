"""Reading a scan of a million points: zeroflaw beside Open3D and trimesh.

    python benchmarks/io.py [--points N] [--repeats R] > benchmarks/results/io.md

Rivals are measured if they can be imported, readers taking turns, files in the system's cache;
"bytes alone" is how long Python needs to read the file's bytes. Peak memory is of a process that
reads the file once, above one that only imported what it needs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMATS = {
    "PCD binary": "binary.pcd",
    "PLY binary": "binary.ply",
    "PLY binary, double": "double.ply",
    "PCD binary_compressed": "compressed.pcd",
    "PCD ascii": "ascii.pcd",
    "PLY ascii": "ascii.ply",
    "XYZ": "ascii.xyz",
    "NPY": "array.npy",
    "STL mesh": "mesh.stl",
}
QUICK = 0.02  # seconds; what is read quicker is read eight times as often
READERS = ("zeroflaw", "open3d", "trimesh")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--memory-of", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(json.dumps(memory_of(*arguments.memory_of)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), arguments.points)
        print_table(Path(folder), arguments.points, arguments.repeats)


def write_files(folder: Path, count: int) -> None:
    """The same points in every format; float32, six decimals in text."""
    rng = np.random.default_rng(0)
    points = np.rint(rng.normal(size=(count, 3)) * 1e6) / 1e6
    single = points.astype("<f4")
    rows = "\n".join("%.6f %.6f %.6f" % tuple(row) for row in points.tolist()) + "\n"  # noqa: UP031
    (folder / "binary.pcd").write_bytes(pcd_header(count, "binary") + single.tobytes())
    (folder / "binary.ply").write_bytes(ply_header(count, "float") + single.tobytes())
    (folder / "double.ply").write_bytes(ply_header(count, "double") + points.tobytes())
    (folder / "ascii.pcd").write_bytes(pcd_header(count, "ascii") + rows.encode())
    (folder / "ascii.ply").write_bytes(ply_header(count, "float", "ascii") + rows.encode())
    (folder / "ascii.xyz").write_text(rows)
    np.save(folder / "array.npy", single)
    write_stl(folder / "mesh.stl", single)
    raw = single.T.tobytes()
    parts = [raw[start : start + 32] for start in range(0, len(raw), 32)]
    packed = b"".join(bytes([len(part) - 1]) + part for part in parts)
    sizes = np.array([len(packed), len(raw)], dtype="<u4").tobytes()
    header = pcd_header(count, "binary_compressed")
    (folder / "compressed.pcd").write_bytes(header + sizes + packed)


def write_stl(path: Path, points: NDArray[np.float32]) -> None:
    """As many triangles as points, each between three points that follow each other."""
    rows = np.zeros(len(points), dtype=[("n", "<f4", (3,)), ("c", "<f4", (3, 3)), ("a", "<u2")])
    for corner in range(3):
        rows["c"][:, corner] = np.roll(points, corner, axis=0)
    path.write_bytes(bytes(80) + np.uint32(len(points)).tobytes() + rows.tobytes())


def pcd_header(count: int, encoding: str) -> bytes:
    """The header of a PCD file of float x, y, z."""
    return (
        "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA {encoding}\n"
    ).encode()


def ply_header(count: int, kind: str, encoding: str = "binary_little_endian") -> bytes:
    """The header of a PLY file of x, y, z."""
    properties = "".join(f"property {kind} {axis}\n" for axis in "xyz")
    head = f"ply\nformat {encoding} 1.0\nelement vertex {count}\n{properties}end_header\n"
    return head.encode()


def reader(name: str) -> Callable[[Path], Any] | None:
    """What a user calls to get the points of a file; None if the library is not installed."""
    module = "zeroflaw.io" if name == "zeroflaw" else name
    try:
        library: Any = importlib.import_module(module)
    except ImportError:
        return None
    if name == "zeroflaw":
        return lambda path: library.read(path).points
    if name == "open3d":
        return lambda path: read_with_open3d(library, path)
    return lambda path: read_with_trimesh(library, path)


def read_with_open3d(library: Any, path: Path) -> NDArray[np.float64]:
    """The points that Open3D reads, or samples from a mesh."""
    if path.suffix == ".npy":
        raise NotImplementedError
    if path.suffix == ".stl":
        mesh = library.io.read_triangle_mesh(str(path))
        return np.asarray(mesh.sample_points_uniformly(100_000).points)
    return np.asarray(library.io.read_point_cloud(str(path)).points)


def read_with_trimesh(library: Any, path: Path) -> NDArray[np.float64]:
    """The points that trimesh reads, or samples from a mesh."""
    loaded = library.load(path, process=False)
    if path.suffix == ".stl":
        return np.asarray(loaded.sample(100_000))
    return np.asarray(loaded.vertices)


@dataclass
class Timing:
    """Seconds of each run of one reader, by the processor's clock and by the wall's."""

    processor: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def timings(
    actions: dict[str, Callable[[Path], Any]], path: Path, repeats: int
) -> dict[str, Timing | None]:
    """What each reader takes, taking turns; None if it cannot read the file."""
    found: dict[str, Timing | None] = {name: Timing() for name in actions}
    for turn in range(8 * repeats):
        ours = found["zeroflaw"]
        if turn >= repeats and (ours is None or median(ours.processor) > QUICK):
            break
        for name, action in actions.items():
            timing = found[name]
            if timing is None:
                continue
            wall, spent = time.perf_counter(), time.process_time()
            try:
                action(path)
            except Exception:  # whatever a rival says to a format that it does not know
                found[name] = None
                continue
            timing.processor.append(time.process_time() - spent)
            timing.wall.append(time.perf_counter() - wall)
    return found


def memory_of(name: str, path: str) -> float:
    """Peak memory of this process while it reads a file, above that before it, in MB."""
    read = reader(name)
    if read is None:
        raise SystemExit(f"{name} is not installed")
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory()
    read(Path(path))
    return peak_memory() - before


def peak_memory() -> float:
    """The largest resident set of this process since it was last cleared, in MB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def measured_memory(name: str, path: Path) -> float:
    """Peak memory of a fresh process, in MB; NaN where the system does not tell."""
    command = [sys.executable, __file__, "--memory-of", name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(json.loads(done.stdout)) if done.returncode == 0 else float("nan")


def processor() -> str:
    """The processor's name and its number of cores."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def cell(timing: Timing | None, ours: Timing | None = None) -> str:
    """Median and least processor time and median wall time in ms; and how many times ours."""
    if timing is None:
        return "–"
    middle = median(timing.processor)
    shown = f"{middle * 1e3:.1f} / {min(timing.processor) * 1e3:.1f} / "
    shown += f"{median(timing.wall) * 1e3:.1f}"
    return shown if ours is None else f"{shown} ({middle / median(ours.processor):.2g}×)"


def print_table(folder: Path, count: int, repeats: int) -> None:
    """Measure every reader on every file and print the Markdown table."""
    readers = {name: read for name in READERS if (read := reader(name)) is not None}
    versions = ", ".join(f"{name} {importlib.import_module(name).__version__}" for name in readers)
    print(f"# Reading {count:,} points\n")
    print(f"{processor()}. Python {platform.python_version()}, numpy {np.__version__}, {versions}.")
    print(f"Load of the machine when this began: {os.getloadavg()[0]:.1f}.\n")
    print(
        f"Milliseconds of {repeats} runs ({8 * repeats} where ours is below 20 ms): median"
        " processor time / least processor time / median wall time; in brackets the ratio of the"
        " medians of processor time to ours. – : cannot read it. On a loaded machine the"
        " wall's clock counts other work too, and the least processor time can be too small.\n"
    )
    rivals = [name for name in readers if name != "zeroflaw"]
    heads = ["format", "MB", "bytes alone", "zeroflaw", *rivals, "zeroflaw's peak memory"]
    print("| " + " | ".join(heads) + " |")
    print("| --- |" + " ---: |" * (len(heads) - 1))
    for label, file in FORMATS.items():
        path = folder / file
        size = path.stat().st_size / 1e6
        found = timings({"bytes alone": Path.read_bytes, **readers}, path, repeats)
        memory = measured_memory("zeroflaw", path)
        cells = [
            label,
            f"{size:.1f}",
            cell(found["bytes alone"]),
            f"**{cell(found['zeroflaw'])}**",
            *(cell(found[name], found["zeroflaw"]) for name in rivals),
            f"{memory:.0f} MB ({memory / size:.1f} × file)",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
