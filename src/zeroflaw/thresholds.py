"""The thresholds above which a detector calls a scan, and a point of it, defective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from zeroflaw.methods.base import Method, Prepared
from zeroflaw.types import Bool, Float64, Scan

SCANS = 256  # that are scored at most, drawn at random
POINTS = 2048  # per scan that count for the points' threshold


class Scans(Protocol):
    """Labelled scans by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Scan: ...


def thresholds(
    method: Method, scans: Scans, prepare: Callable[[Scan], Prepared]
) -> dict[str, float]:
    """Return `threshold` and `point_threshold` with the best F1 on labelled scans.

    prepare: `method.prepare`, or the same through a cache. One that cannot be told, as all scans
    or points are alike, is left out.
    """
    device = next(method.parameters()).device
    method.eval()
    objects: list[tuple[float, bool]] = []
    points: list[tuple[Float64, Bool]] = []
    drawn = np.random.default_rng(0).permutation(len(scans))[:SCANS]
    for index in sorted(drawn.tolist()):
        scan = scans[index]
        assert scan.labels is not None
        with torch.inference_mode():
            prepared = prepare(scan).to(device)
            scores = method.score(method(prepared), scan, prepared)
        chosen = np.linspace(0, len(scan) - 1, min(len(scan), POINTS)).astype(np.int64)
        points.append((scores.point.double().cpu().numpy()[chosen], scan.labels[chosen]))
        objects.append((scores.object, bool(scan.labels.any())))
    whole = best_threshold(
        np.array([score for score, _ in objects]), np.array([label for _, label in objects])
    )
    single = best_threshold(
        np.concatenate([score for score, _ in points]),
        np.concatenate([label for _, label in points]),
    )
    found = {"threshold": whole, "point_threshold": single}
    return {name: value for name, value in found.items() if value is not None}


def best_threshold(scores: Float64, labels: Bool) -> float | None:
    """Return the threshold with the best F1, between two scores; None if all labels agree.

    scores: (N,) in [0, 1]; labels: (N,); a score at or above the threshold counts as positive.
    """
    positives = int(labels.sum())
    if positives in (0, len(labels)):
        return None
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + positives)
    last_of_equals = np.append(ranked[:-1] != ranked[1:], True)
    best = int(np.argmax(np.where(last_of_equals, f1, -1.0)))
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best]
    between = (ranked[best] + below) / 2
    return float(between if between > below else ranked[best])
