"""Makes the bundled scan, a flange with one dent, and its good twin.

python examples/make.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from zeroflaw.io import write_scan
from zeroflaw.synthesis.generate import Settings, good_twin, synthesize
from zeroflaw.synthesis.shapes import Shape
from zeroflaw.synthesis.solids import SOLIDS
from zeroflaw.types import Scan

SEED = 9
DIAMETER = 120.0  # millimetres
SETTINGS = Settings(
    points=(30_000, 30_000),
    defective_share=1.0,
    one_sided_share=0.0,
    sizes=(0.14, 0.16),
    amplitudes=(0.14, 0.18),
    noise=(0.0002, 0.0003),
    kinds=("dent",),
)


def flange() -> Shape:
    """A flange of the stated diameter; synthesis turns it at random."""
    shape = SOLIDS["flange"](np.random.default_rng(4))
    low, high = shape.vertices.min(axis=0), shape.vertices.max(axis=0)
    scale = np.float32(DIAMETER / (high - low)[:2].max())
    return replace(shape, vertices=shape.vertices * scale)


def bundled(scan: Scan) -> Scan:
    """Points in single precision, as a scanner would store them."""
    return replace(scan, points=scan.points.astype(np.float32).astype(np.float64))


def main() -> None:
    """Write both scans beside this file."""
    here = Path(__file__).parent
    shape = flange()
    write_scan(here / "flange_dent.ply", bundled(synthesize(shape, SEED, SETTINGS).scan))
    write_scan(here / "flange_good.ply", bundled(good_twin(shape, SEED, SETTINGS).scan))


if __name__ == "__main__":
    main()
