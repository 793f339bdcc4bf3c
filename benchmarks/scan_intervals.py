"""How far the figures of an evaluation would vary with other scans: a bootstrap over pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from zeroflaw.reports.stored import StoredScores
from zeroflaw.types import Float64

BINS = 512  # of the points' scores, as many points in each
REPEATS = 1000
TAIL = 0.025  # left out at either end
SEED = 11

Interval = tuple[float, float]


def intervals(scans: Sequence[StoredScores]) -> dict[str, Interval]:
    """Return the 95 % intervals of the mean AUROC over categories, of points and of objects.

    scans: defective ones and their twins, whose names start with the same number. Pairs are drawn
    anew within each category.
    """
    rng = np.random.default_rng(SEED)
    drawn: dict[str, list[Float64]] = {"point_auroc": [], "object_auroc": []}
    for category in sorted({scan.category for scan in scans}):
        pairs = _pairs([scan for scan in scans if scan.category == category])
        draws = rng.integers(len(pairs), size=(REPEATS, len(pairs)))
        times = np.stack([np.bincount(one, minlength=len(pairs)) for one in draws])
        points = [_joined([(s.point, s.label) for s in pair]) for pair in pairs]
        objects = [
            (np.array([s.object for s in pair]), np.array([s.defective for s in pair]))
            for pair in pairs
        ]
        drawn["point_auroc"].append(drawn_aurocs(points, times))
        drawn["object_auroc"].append(drawn_aurocs(objects, times))
    found = {}
    for name, rows in drawn.items():
        low, high = np.quantile(np.mean(rows, axis=0), (TAIL, 1 - TAIL))
        found[name] = (float(low), float(high))
    return found


def drawn_aurocs(
    pairs: Sequence[tuple[NDArray[np.floating], NDArray[np.bool_]]], times: NDArray[np.integer]
) -> Float64:
    """Return the AUROC of each draw, (R,), up to the width of the bins.

    pairs: scores and labels of each; times: (R, P), how often a draw has each pair.
    """
    everything = np.concatenate([scores for scores, _ in pairs])
    edges = np.unique(np.quantile(everything, np.linspace(0, 1, BINS + 1), method="nearest"))
    counts = np.zeros((2, len(pairs), len(edges)))
    for number, (scores, labels) in enumerate(pairs):
        place = np.searchsorted(edges, scores, side="right") - 1
        for state in (0, 1):
            counts[state, number] = np.bincount(place[labels == state], minlength=len(edges))
    normal, anomalous = (times @ one for one in counts)
    below = np.cumsum(normal, axis=1) - normal / 2
    wins = (anomalous * below).sum(axis=1)
    found: Float64 = wins / (anomalous.sum(axis=1) * normal.sum(axis=1))
    return found


def _pairs(scans: Sequence[StoredScores]) -> list[list[StoredScores]]:
    found: dict[str, list[StoredScores]] = {}
    for scan in scans:
        found.setdefault(PurePosixPath(scan.name).name.split("_")[0], []).append(scan)
    return [found[number] for number in sorted(found)]


def _joined(
    parts: Sequence[tuple[NDArray[np.floating], NDArray[np.bool_]]],
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
