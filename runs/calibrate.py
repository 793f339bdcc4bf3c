"""Calibrate an existing checkpoint: make probabilities of its scores and choose its thresholds.

    python runs/calibrate.py CORPUS CHECKPOINT.safetensors OUT.safetensors [--scans 240]

CORPUS: a folder of packed shapes (.npz), whose validation categories the scans are made from. The
weights stay, in 16 bits; `zeroflaw train compact` ends with the same step. OUT may be CHECKPOINT.
Then measure it:

    python benchmarks/calibration.py CORPUS --detector OUT.safetensors --card OUT.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.ship import ship


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scans", type=int, default=240, help="half of them defective")
    given = parser.parse_args()
    unseen = SyntheticScans(SyntheticSettings(given.corpus, "validation", 0))
    ship(given.checkpoint, unseen, given.out, {}, given.scans)
    print(given.out)


if __name__ == "__main__":
    main()
