"""What a benchmark compares: anything that scores the points of a scan, detectors above all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zeroflaw.detector import Detector
from zeroflaw.score import hash_detector
from zeroflaw.types import Float32, Region, Scan

TOP = 0.01
FROM_CARD = ("threshold", "point_threshold", "calibration", "kind_temperature")
"""Entries of a card that scores and regions depend on."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """point: (N,) float32, one score per point. object: of the scan. Higher is more anomalous."""

    point: Float32
    object: float
    regions: tuple[Region, ...] = ()


class Contestant(Protocol):
    """name: in tables. identity: a hash of all that its scores depend on besides the scan.

    about: what `results.json` says of it.
    """

    name: str
    identity: str
    about: dict[str, Any]

    def judge(self, scan: Scan) -> Judgement:
        """Score a scan. Raises ScanError for one that cannot be used."""
        ...


Loader = Callable[[], Contestant]
"""Makes a contestant in any process, so it is a function at the top of a module, or a partial."""


@dataclass
class OfDetector:
    """A detector as a contestant."""

    detector: Detector
    name: str = field(init=False)
    identity: str = field(init=False)
    about: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        card = self.detector.card
        self.name = self.detector.name
        used = json.dumps({name: card.get(name) for name in FROM_CARD}, sort_keys=True)
        said = f"{hash_detector(self.detector)}\n{used}"
        self.identity = hashlib.sha256(said.encode()).hexdigest()
        self.about = {
            "method": self.detector.method.name,
            "weights_sha256": card.get("sha256"),
            "trained_on": card.get("trained_on", "not stated"),
            "threshold": self.detector.threshold,
            "point_threshold": self.detector.point_threshold,
            "parameters": sum(one.numel() for one in self.detector.method.parameters()),
        }

    def judge(self, scan: Scan) -> Judgement:
        """Inspect the scan."""
        found = self.detector.inspect(scan)
        return Judgement(found.point_scores, found.score, found.regions)


def load_detector(name_or_path: str | Path, device: str = "cpu") -> Contestant:
    """Return a shipped detector or a checkpoint as a contestant. Raises ZeroflawError."""
    return OfDetector(Detector.load(name_or_path, device))


def top_mean(point: Float32, share: float = TOP) -> float:
    """Return the mean of the highest share of the points' scores: a scan's score where none is."""
    count = max(1, round(share * len(point)))
    return float(np.partition(point, len(point) - count)[-count:].mean())
