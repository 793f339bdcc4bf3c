"""Scores split by class, sorted and counted against each other: what every metric starts from.

Only thresholds at the scores of anomalous points matter to the areas and to the highest F1, so
both classes are sorted apart and the few anomalous scores are looked up among the normal ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zeroflaw.types import Bool, Int64, ZeroflawError

Real = NDArray[Any]  # of any real type; nothing is rounded to another one


@dataclass(frozen=True, eq=False)
class Counts:
    """Points at each distinct score of an anomalous one, from the lowest score to the highest.

    same: (K,) int64, anomalous points of exactly this score. found: (K,) int64, anomalous points of
    at least this score. above, at_least: (K,) int64, normal points of a higher score, and of at
    least this one. anomalous, normal: how many points there are.
    """

    same: Int64
    found: Int64
    above: Int64
    at_least: Int64
    anomalous: int
    normal: int

    def wins(self) -> float:
        """Return how many pairs have the anomalous point above the normal one, ties as a half."""
        twice = self.same * (2 * self.normal - self.above - self.at_least)
        return int(twice.sum()) / 2


def checked_scores(scores: ArrayLike) -> Real:
    """Return the scores as an array, (N,). Raises ZeroflawError unless all are finite numbers."""
    array = np.asarray(scores)
    if array.ndim != 1:
        raise ZeroflawError(f"scores have shape {array.shape}; give one score per item, (N,)")
    if array.dtype.kind not in "fiub":
        raise ZeroflawError(f"scores are of type {array.dtype}; give real numbers")
    if not np.isfinite(array).all():
        raise ZeroflawError("scores hold NaN or infinite values; there is no order among them")
    # Half precision sorts slowly, and fits into single precision as it is.
    return array.astype(np.float32) if array.dtype == np.float16 else array


def by_class(scores: ArrayLike, labels: ArrayLike) -> tuple[Real, Real]:
    """Return the scores of the anomalous and of the normal items, each sorted, lowest first.

    scores: (N,), finite; labels: (N,), bool or 0 and 1. Raises ZeroflawError where they are not.
    """
    array = checked_scores(scores)
    marked = _checked_labels(labels, len(array))
    anomalous, normal = array[marked], array[~marked]
    anomalous.sort()
    normal.sort()
    return anomalous, normal


def counted(anomalous: Real, normal: Real) -> Counts:
    """Count both classes at each distinct anomalous score. Both: sorted, lowest first."""
    starts = run_starts(anomalous)
    distinct = anomalous[starts]
    below = np.searchsorted(normal, distinct, side="left")
    above = len(normal) - below
    at_least = above.copy()
    if len(normal):
        tied = np.flatnonzero(normal[np.minimum(below, len(normal) - 1)] == distinct)
        above[tied] = len(normal) - np.searchsorted(normal, distinct[tied], side="right")
    return Counts(
        same=np.diff(starts, append=len(anomalous)),
        found=len(anomalous) - starts,
        above=above,
        at_least=at_least,
        anomalous=len(anomalous),
        normal=len(normal),
    )


def run_starts(ordered: Real) -> Int64:
    """Return where each run of equal values begins, (K,). ordered: (N,), sorted."""
    changes = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=changes[1:])
    return np.flatnonzero(changes)


def _checked_labels(labels: ArrayLike, size: int) -> Bool:
    """The labels as (N,) bool."""
    array = np.asarray(labels)
    if array.shape != (size,):
        raise ZeroflawError(f"{size} scores have labels of shape {array.shape}; give one for each")
    if array.dtype == np.bool_:
        return array
    marked = array == 1
    if not (marked | (array == 0)).all():
        raise ZeroflawError("labels hold values other than 0 and 1; 1 is anomalous, 0 normal")
    return np.asarray(marked, dtype=np.bool_)
