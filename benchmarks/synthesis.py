"""Time the synthesis of scans of 20,000 points on one core, and the steps it consists of.

    OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/synthesis.py > FILE

Scans of three parts of every parametric family, half of them one-sided. Seconds are processor time;
of each scan the quickest of several runs counts, so that other load weighs little.
"""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from zeroflaw.log import machine
from zeroflaw.synthesis import generate
from zeroflaw.synthesis.defects import DEFECTS
from zeroflaw.synthesis.generate import Settings, good_twin, synthesize
from zeroflaw.synthesis.shapes import Shape
from zeroflaw.synthesis.solids import SOLIDS

RUNS = 5
PARTS = 3  # of each family
SETTINGS = Settings(points=(20_000, 20_000), defective_share=1.0)
STEPS = {  # functions of generate.py by what they do; one within another counts for the inner
    "sampling of the mesh": "sample_triangles",
    "what the sensor sees": "look",
    "which points, and where they are measured": "_scan",
    "density that the sensor returns": "returned_density",
    "displacing, hiding and merging": "_changed",
}


def main() -> None:
    """Print the processor and the tables."""
    print("# Synthesis of scans\n")
    print(f"{machine()}; Python {platform.python_version()}, NumPy {np.__version__}. ", end="")
    print(f"One core, 20,000 points a scan, best of {RUNS} runs, processor time. ", end="")
    print(f"Load of the machine at the start: {os.getloadavg()[0]:.1f}.\n")
    shapes = [SOLIDS[name](np.random.default_rng(k)) for k in range(PARTS) for name in SOLIDS]
    for shape in shapes:
        _ = shape.triangles
    print("| scans | ms a scan | scans a second |")
    print("| :--- | ---: | ---: |")
    rows = {
        "defective, all kinds": SETTINGS,
        "defective, full": replace(SETTINGS, one_sided_share=0.0),
        "defective, one-sided": replace(SETTINGS, one_sided_share=1.0),
    }
    for name, settings in rows.items():
        row(name, [best(synthesize, shape, i, settings) for i, shape in enumerate(shapes)])
    row("good", [best(good_twin, shape, i, SETTINGS) for i, shape in enumerate(shapes)])
    row("parts themselves, parametric", [best_part(name) for name in SOLIDS])
    print("\n| kind | ms a scan |\n| :--- | ---: |")
    for kind in DEFECTS:
        only = replace(SETTINGS, kinds=(kind,))
        seconds = [best(synthesize, shape, i, only) for i, shape in enumerate(shapes[::3])]
        print(f"| {kind} | {1000 * float(np.mean(seconds)):.0f} |", flush=True)
    print("\n| step | share |\n| :--- | ---: |")
    for name, share in steps(shapes).items():
        print(f"| {name} | {share:.0%} |")


def row(name: str, seconds: list[float]) -> None:
    """Print the mean of some times and how many go into a second."""
    mean = float(np.mean(seconds))
    print(f"| {name} | {1000 * mean:.0f} | {1 / mean:.0f} |", flush=True)


def best(make: Callable[[Shape, int, Settings], object], shape: Shape, *rest: Any) -> float:
    """The quickest of several runs, seconds of processor time."""
    return min(timed(lambda: make(shape, *rest)) for _ in range(RUNS))


def best_part(name: str) -> float:
    """The quickest of several makings of a part."""
    return min(timed(lambda: SOLIDS[name](np.random.default_rng(0)).triangles) for _ in range(RUNS))


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time that it takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def steps(shapes: list[Shape]) -> dict[str, float]:
    """The share of each step, the largest first, and of the defects themselves."""
    spent: defaultdict[str, float] = defaultdict(float)
    with clocked(spent):
        whole = sum(
            timed(lambda i=i, one=one: synthesize(one, i, SETTINGS))  # type: ignore[misc]
            for i, one in enumerate(shapes)
        )
    spent["the rest"] = whole - sum(spent.values())
    ordered = sorted(spent, key=lambda name: -spent[name])
    return {name: spent[name] / whole for name in ordered}


@contextmanager
def clocked(spent: defaultdict[str, float]) -> Iterator[None]:
    """Note how long each step takes without the steps within it, for as long as entered."""
    within: list[float] = []

    def clock(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            within.append(0.0)
            start = time.process_time()
            result = function(*args, **options)
            took = time.process_time() - start
            spent[name] += took - within.pop()
            if within:
                within[-1] += took
            return result

        return run

    found = {function: getattr(generate, function) for function in STEPS.values()}
    kinds = dict(DEFECTS)
    try:
        for name, function in STEPS.items():
            setattr(generate, function, clock(name, found[function]))
        DEFECTS.update({kind: clock("the defect itself", kinds[kind]) for kind in kinds})
        yield
    finally:
        for function, original in found.items():
            setattr(generate, function, original)
        DEFECTS.update(kinds)


if __name__ == "__main__":
    main()
