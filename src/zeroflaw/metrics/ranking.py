"""Metrics of ranking: how well scores put the anomalous above the normal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from zeroflaw.types import Bool, ZeroflawError


def auroc(scores: NDArray[np.floating], labels: Bool) -> float:
    """Return the area under the ROC curve, ties counted half; nan if a class is missing.

    scores: (N,), higher is more anomalous. labels: (N,) bool. Raises ZeroflawError for NaN.
    """
    if not np.isfinite(scores).all():
        raise ZeroflawError("scores hold NaN or infinite values; there is no order among them")
    positive = int(labels.sum())
    negative = len(labels) - positive
    if positive == 0 or negative == 0:
        return float("nan")
    ranks = rankdata(scores)
    wins = float(ranks[labels].sum()) - positive * (positive + 1) / 2
    return wins / (positive * negative)
