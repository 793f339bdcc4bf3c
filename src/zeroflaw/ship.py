"""From a trained checkpoint to a detector: scores become probabilities, thresholds are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import expit

from zeroflaw import checkpoint
from zeroflaw.datasets.synthetic_pairs import SyntheticScans
from zeroflaw.methods.base import Method
from zeroflaw.methods.compact import Compact, near_edge
from zeroflaw.metrics.calibration import Scaling, Scalings, fit_scaling
from zeroflaw.reports.progress import progress
from zeroflaw.types import Bool, Float64, Int64

FALSE_ALARMS = 0.1  # share of good held-out scans that the verdict may call defective
POINT_FALSE_ALARMS = 0.002  # share of their points that may be marked
EDGE_SCALE = 0.6
"""Of the logits near edges, where few are high: shrinking them costs less of what they tell apart
than a shift alone that makes up for the same."""
ROUNDS = 2  # as their shift depends on the scaling, which depends on it
MOST_SHIFT = 12.0  # of those logits
POINTS = 8192  # of a scan that count, spread evenly over its rows


@dataclass(frozen=True, eq=False)
class Judged:
    """What a method says of labelled scans, before any calibration.

    objects, defective: (S,), scores of scans and what they are. points, marked: (P,), those of
    their points, at most POINTS of a scan. owner: (P,), whose point it is.
    """

    objects: Float64
    defective: Bool
    points: Float64
    marked: Bool
    owner: Int64

    def of_good_scans(self) -> Bool:
        """Return which points belong to good scans, (P,)."""
        return np.asarray(~self.defective[self.owner])


def judge(method: Method, scans: SyntheticScans, count: int) -> Judged:
    """Return the scores of the first `count` scans: pairs of a defective one and its good twin."""
    device = next(method.parameters()).device
    objects, defective = np.zeros(count), np.zeros(count, dtype=bool)
    points, marked = [], []
    with progress(count) as step, torch.inference_mode():
        for number in range(count):
            step(number)
            scan = scans[number].scan
            prepared = method.prepare(scan).to(device)
            scores = method.score(method(prepared), scan, prepared)
            rows = np.linspace(0, len(scan) - 1, min(len(scan), POINTS)).astype(np.int64)
            labels = np.zeros(len(scan), dtype=bool) if scan.labels is None else scan.labels
            objects[number], defective[number] = scores.object, labels.any()
            points.append(scores.point.double().cpu().numpy()[rows])
            marked.append(labels[rows])
    sizes = [len(one) for one in points]
    owner = np.repeat(np.arange(count), sizes)
    clipped = np.clip(np.concatenate(points), 0, 1)
    return Judged(np.clip(objects, 0, 1), defective, clipped, np.concatenate(marked), owner)


def fit(judged: Judged) -> Scalings:
    """Return what makes probabilities of the scores; each scan counts as one independent item."""
    count = len(judged.objects)
    whole = fit_scaling(judged.objects, judged.defective)
    return Scalings(whole, fit_scaling(judged.points, judged.marked, count))


def edge_shift(method: Compact, scans: SyntheticScans, count: int, scaling: Scaling) -> float:
    """Return the shift at which edges of good one-sided scans look no worse than their rest.

    It joins the logits of points near the edge, and makes the mean of their calibrated scores that
    of the other points, over the good ones among the first `count` scans. Zero without such scans.
    """
    device = next(method.parameters()).device
    already = float(method.get_buffer("edge_shift"))
    near, far = [], []
    with progress(count // 2) as step, torch.inference_mode():
        for number in range(1, count, 2):
            step(number // 2)
            made = scans[number]
            if made.sided != "one":
                continue
            prepared = method.prepare(made.scan).to(device)
            logit = method(prepared).point_logit[0].double().cpu().numpy()
            edge = near_edge(prepared["edge"][0]).cpu().numpy()
            near.append(logit[edge] - already)
            far.append(logit[~edge])
    if not near or not sum(map(len, near)) or not sum(map(len, far)):
        return 0.0
    edges, wanted = np.concatenate(near), scaling.apply(expit(np.concatenate(far))).mean()

    def excess(shift: float) -> float:
        return float(scaling.apply(expit(edges + shift)).mean() - wanted)

    low, high = -MOST_SHIFT, MOST_SHIFT
    if excess(low) > 0 or excess(high) < 0:
        return low if excess(low) > 0 else high
    return float(brentq(excess, low, high, xtol=1e-4))


def ship(
    best: Path, unseen: SyntheticScans, out: Path, card: Mapping[str, Any], scans: int
) -> None:
    """Write a calibrated checkpoint, weights in 16 bits; a calibration that it has is replaced.

    Scores are fitted to the labels of the first `scans` scans, as many good as defective, so that a
    scan's score is the probability of a defect where one in two has one. Before that, the compact
    detector's logits near edges are scaled by EDGE_SCALE and shifted, see `edge_shift`. Of the good
    scans, FALSE_ALARMS reach the scan's threshold and POINT_FALSE_ALARMS of their points the
    point's; both thresholds are of calibrated scores. Raises ZeroflawError.
    """
    method, trained = checkpoint.load(best)
    method = method.half().float()  # as it will be stored
    judged = judge(method, unseen, scans)
    scalings = fit(judged)
    if isinstance(method, Compact) and method.config.edge:
        method.config = replace(method.config, edge_scale=EDGE_SCALE)
        for _ in range(ROUNDS):
            shift = edge_shift(method, unseen, scans, scalings.point)
            method.get_buffer("edge_shift").fill_(float(np.float16(shift)))  # as it will be stored
            judged = judge(method, unseen, scans)
            scalings = fit(judged)
    good = scalings.object.apply(judged.objects[~judged.defective])
    points = scalings.point.apply(judged.points[judged.of_good_scans()])
    settings = unseen.settings
    chosen = {
        "threshold": float(np.quantile(good, 1 - FALSE_ALARMS)),
        "point_threshold": float(np.quantile(points, 1 - POINT_FALSE_ALARMS)),
        "false_alarms": {"good scans": FALSE_ALARMS, "their points": POINT_FALSE_ALARMS},
        "calibration": {
            "object": {**asdict(scalings.object), "prior": float(judged.defective.mean())},
            "point": {**asdict(scalings.point), "prevalence": float(judged.marked.mean())},
            "fitted_on": f"{scans} synthetic {settings.split} scans, seed {settings.seed}",
        },
    }
    checkpoint.save(out, method, {**trained, **card, **chosen}, half=True)
