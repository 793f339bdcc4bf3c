"""Scores as probabilities: how far they are from it, and the scaling that brings them there.

Scores are calibrated if, of the items that score p, a share of p is defective. That holds for a
certain share of defective items among all (the prior) and for no other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from zeroflaw.metrics.counts import checked_scores
from zeroflaw.types import Bool, Float64, ZeroflawError

BINS = 15  # Guo et al. (2017), "On Calibration of Modern Neural Networks"
NEAREST = 2.0**-53  # a score nearer to 0 or 1 than this counts as this near
SOFTEST, HARDEST = 100.0, 0.01  # temperatures within which one is looked for
MOST_BIAS = 50.0


@dataclass(frozen=True)
class Scaling:
    """Makes a probability of a score: the logit is divided by temperature, then bias is added.

    Temperature is above 0, so that the order of scores stays; very near to 1, rounding may make
    scores equal.
    """

    temperature: float = 1.0
    bias: float = 0.0

    def apply(self, scores: ArrayLike) -> Float64:
        """Return calibrated scores of the same shape. scores: in [0, 1]."""
        scaled: Float64 = expit(logit(scores) / self.temperature + self.bias)
        return scaled

    @staticmethod
    def read(entry: Any) -> Scaling:
        """Return the scaling that a card holds. Raises ZeroflawError for what is none."""
        values = entry if isinstance(entry, dict) else {}
        found: list[Any] = [values.get("temperature"), values.get("bias")]
        usual = all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
            for one in found
        )
        if not usual or found[0] <= 0:
            raise ZeroflawError(
                f"{entry!r} is no calibration; a temperature above 0 and a bias are expected"
            )
        return Scaling(float(found[0]), float(found[1]))


@dataclass(frozen=True)
class Scalings:
    """What a detector does to the scores of scans and of points."""

    object: Scaling
    point: Scaling

    @staticmethod
    def read(entry: Any) -> Scalings | None:
        """Return what the entry `calibration` of a card says, None if there is none.

        Raises ZeroflawError for an entry that is none.
        """
        if entry is None:
            return None
        parts = entry if isinstance(entry, dict) else {}
        return Scalings(Scaling.read(parts.get("object")), Scaling.read(parts.get("point")))


@dataclass(frozen=True, eq=False)
class Reliability:
    """Scores in bins. Bins without an item are left out.

    low, high: (B,), what the bins span. count: (B,), items in each. score: (B,), their mean score.
    share: (B,), how many of them are defective, as a share.
    """

    low: Float64
    high: Float64
    count: Float64
    score: Float64
    share: Float64

    def error(self) -> float:
        """Return the expected calibration error: mean |score − share|, bins counted by their items.

        Naeini et al. (2015), "Obtaining Well Calibrated Probabilities Using Bayesian Binning"; with
        bins of equal mass the adaptive error of Nguyen and O'Connor (2015).
        """
        return float((np.abs(self.score - self.share) * self.count).sum() / self.count.sum())


def logit(scores: ArrayLike) -> Float64:
    """Return log(p / (1 − p)) in 64 bits, finite also where p is 0 or 1."""
    values = np.clip(np.asarray(scores, dtype=np.float64), NEAREST, 1 - NEAREST)
    return np.asarray(np.log(values) - np.log1p(-values))


def reliability(
    scores: ArrayLike, labels: ArrayLike, bins: int = BINS, *, equal_mass: bool = False
) -> Reliability:
    """Return mean score and share of defective items, bin by bin.

    scores: (N,), in [0, 1]; labels: (N,) bool. Bins are equally wide, a score on an edge belonging
    to the bin above it, 1 to the last; with equal_mass each holds as many items, but for equal
    scores, which are never parted. Raises ZeroflawError for scores out of range or none at all.
    """
    values, marked = _checked(scores, labels)
    if equal_mass:
        order = np.argsort(values, kind="stable")
        values, marked = values[order], marked[order]
        wanted = np.arange(1, bins) * len(values) // bins
        starts = np.searchsorted(values, values[wanted])
        place = np.searchsorted(np.unique(starts[starts > 0]), np.arange(len(values)), "right")
    else:
        place = np.minimum((values * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins).astype(np.float64)
    used = np.flatnonzero(count)
    score = np.bincount(place, values, minlength=bins)[used] / count[used]
    share = np.bincount(place, marked, minlength=bins)[used] / count[used]
    low, high = used / bins, (used + 1) / bins
    if equal_mass:
        low = np.array([values[place == one].min() for one in used])
        high = np.array([values[place == one].max() for one in used])
    return Reliability(low, high, count[used], score, share)


def fit_scaling(scores: ArrayLike, labels: ArrayLike, independent: int | None = None) -> Scaling:
    """Return the scaling under which the labels are likeliest.

    scores: (N,), in [0, 1]; labels: (N,) bool, of both classes. The bias is left at 0 where it
    makes the labels hardly likelier: by no more than ln(n) / 2 nats in all (Schwarz, 1978).
    independent: n, by default N; fewer for points, which come many from one scan. Targets are drawn
    away from 0 and 1 as by Platt (1999), "Probabilistic Outputs for Support Vector Machines", so
    that few items that part well do not make it certain. Raises ZeroflawError for one class only.
    """
    values, marked = _checked(scores, labels)
    positive, count = int(marked.sum()), len(marked)
    if positive in (0, count):
        raise ZeroflawError("scores can be calibrated only with both good and defective items")
    negative = count - positive
    targets = np.where(marked, (positive + 1) / (positive + 2), 1 / (negative + 2))
    logits = logit(values)
    alone, without = _minimise(logits, targets, 0.0)
    both, with_bias = _minimise(logits, targets, MOST_BIAS)
    effective = independent or count
    if (without - with_bias) * effective <= math.log(effective) / 2:
        both = alone
    return Scaling(float(1 / both[0]), float(both[1]))


def _minimise(logits: Float64, targets: Float64, most_bias: float) -> tuple[Float64, float]:
    """The slope and bias, (2,), of the lowest loss, and the loss, which is convex in them."""
    from scipy.optimize import minimize  # takes longer to import than an inspection should wait

    bounds = [(1 / SOFTEST, 1 / HARDEST), (-most_bias, most_bias)]
    start = np.array([1.0, 0.0])
    found = minimize(
        _loss, start, (logits, targets), "L-BFGS-B", jac=True, bounds=bounds, tol=1e-12
    )
    return found.x, float(found.fun)


def _loss(at: Float64, logits: Float64, targets: Float64) -> tuple[float, Float64]:
    """The mean cross-entropy at (slope, bias), and its gradient, (2,)."""
    scaled = at[0] * logits + at[1]
    rest = expit(scaled) - targets
    loss = float((np.logaddexp(0, scaled) - targets * scaled).mean())
    return loss, np.array([(rest * logits).mean(), rest.mean()])


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Float64, Bool]:
    values = checked_scores(scores).astype(np.float64)
    marked = np.asarray(labels)
    if marked.shape != values.shape:
        raise ZeroflawError(
            f"{len(values)} scores have labels of shape {marked.shape}; give one for each"
        )
    if len(values) == 0 or values.min() < 0 or values.max() > 1:
        raise ZeroflawError("calibration needs scores from 0 to 1, and at least one of them")
    return values, marked.astype(np.bool_)
