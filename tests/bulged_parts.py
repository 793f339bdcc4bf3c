"""Labelled spheres with bulges in two categories, and evaluations on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from conftest import dent, sphere_points
from zeroflaw.datasets.base import Dataset
from zeroflaw.detector import Detector
from zeroflaw.evaluate import Evaluation, evaluate
from zeroflaw.io import write_scan
from zeroflaw.types import Scan

SCANS = 4  # per category


def bulged(seed: int, height: float, count: int = 400) -> Scan:
    """A sphere with noise and a labelled bulge; none of height 0."""
    points = sphere_points(count, seed) * 10
    points += np.random.default_rng(seed).normal(size=points.shape) * 0.4
    moved, inside = dent(points, (0, 0, 10), 6, (0, 0, height))
    return Scan(moved, labels=inside & (height > 0))


def bulged_parts(root: Path) -> Path:
    """Two categories of a folder, each with good and bulged scans that are hard to tell."""
    for first, category, height in ((0, "cap", 1.5), (SCANS, "ring", 3.0)):
        for number in range(SCANS):
            good = number % 2 == 0
            path = root / category / ("good" if good else "bulged") / f"{number}.ply"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_scan(path, bulged(first + number, 0 if good else height))
    return root


def measured(detector: Detector, data: Dataset, out: Path, **options: Any) -> Evaluation:
    return evaluate(detector, data, out, progress=False, **options)


def files(out: Path) -> dict[str, bytes]:
    """What two equal evaluations have in common byte for byte."""
    names = ("results.json", "results.csv", "results.md", "results.tex", "evaluation.json")
    return {name: (out / name).read_bytes() for name in names}


def told(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())
    return found
