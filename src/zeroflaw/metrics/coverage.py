"""The area that BTP's table calls P-PRO: how fast an inspector in order of score finds defects."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numpy.typing import ArrayLike

from zeroflaw.metrics.counts import by_class, counted
from zeroflaw.types import ZeroflawError


def coverage_auc(scores: Sequence[ArrayLike], labels: Sequence[ArrayLike]) -> float:
    """Return the mean over anomalous scans of the area under their coverage curves.

    scores, labels: one array each per scan, (N,) and (N,) bool. A scan's curve is the share of its
    anomalous points found against the share of all its points taken, highest scores first, straight
    where scores tie. Scans without an anomalous point do not count; nan if there is no other.
    Raises ZeroflawError, naming the scan's place, as `ranking`.

    This is not AU-PRO: with the anomalous share p of a scan it equals p / 2 + (1 − p) · AUROC.
    """
    if len(scores) != len(labels):
        raise ZeroflawError(f"{len(scores)} scans have scores, {len(labels)} have labels")
    areas = []
    for place, (values, marks) in enumerate(zip(scores, labels, strict=True)):
        try:
            counts = counted(*by_class(values, marks))
        except ZeroflawError as error:
            raise ZeroflawError(f"scan {place}: {error}") from None
        if counts.anomalous:
            whole = counts.anomalous + counts.normal
            # Each anomalous point waits for the normal points above it and for half of its class.
            areas.append((counts.anomalous / 2 + counts.wins() / counts.anomalous) / whole)
    return math.fsum(areas) / len(areas) if areas else math.nan
