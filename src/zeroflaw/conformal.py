"""Thresholds whose false alarms are bounded, from the scores of good items alone.

Split conformal prediction: Papadopoulos et al. (2002), "Inductive Confidence Machines for
Regression"; Vovk, Gammerman and Shafer (2005), "Algorithmic Learning in a Random World", 4.1.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from zeroflaw.metrics.counts import checked_scores
from zeroflaw.types import ZeroflawError

MOST = 1_000_000_000  # scans that a message asks for by their number


def conformal_rank(count: int, false_alarms: float) -> int:
    """Return ⌈(n + 1)(1 − α)⌉, computed from the rate's decimal digits, without rounding errors.

    count: n, the number of good items. Raises ZeroflawError if there are too few for the rate α:
    (n + 1) α < 1, where no threshold but one above all scores keeps the promise.
    """
    if not 0 < false_alarms < 1:
        raise ZeroflawError(f"a false-alarm rate of {false_alarms:g} is not between 0 and 1")
    needed = scans_needed(false_alarms)
    if count < needed:
        allowed = math.ceil(1e4 / (count + 1)) / 1e4
        scans = "1 good scan is" if count == 1 else f"{count} good scans are"
        least = f"at least {needed}" if needed <= MOST else f"more than {MOST}"
        raise ZeroflawError(
            f"{scans} too few to promise a false-alarm rate of {false_alarms:g}; give {least}"
            + (f", or allow a rate of {allowed:g}" if count else "")
        )
    return count + 1 - int((count + 1) * Fraction(repr(float(false_alarms))))


def scans_needed(false_alarms: float) -> int:
    """Return the least number of good items from which the rate can be promised."""
    rate = Fraction(repr(float(false_alarms)))
    return -int(-1 // rate) - 1


def conformal_threshold(scores: ArrayLike, false_alarms: float) -> float:
    """Return the score that a further good item exceeds with a probability of at most the rate.

    scores: (N,), of good items. It is their ⌈(n + 1)(1 − α)⌉-th smallest. The promise holds if the
    scores of these and of the further one are exchangeable, on average over which they are,
    whatever their distribution, ties included. Raises ZeroflawError as `conformal_rank`.
    """
    values = np.sort(checked_scores(scores))
    return float(values[conformal_rank(len(values), false_alarms) - 1])


def likely_rate(count: int, false_alarms: float, confidence: float = 0.9) -> float:
    """Return the rate that the threshold from one set of n good items keeps with this confidence.

    Over many sets the false-alarm rates of their thresholds follow a beta distribution, whose mean
    the promise bounds; small sets may be unlucky. Exact for scores without ties, else an upper
    bound. Vovk (2012), "Conditional Validity of Inductive Conformal Predictors".
    """
    rank = conformal_rank(count, false_alarms)
    return float(betaincinv(count + 1 - rank, rank, confidence))
