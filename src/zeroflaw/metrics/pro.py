"""AU-PRO: how much of each defect is found before too much of the normal surface is marked.

Bergmann et al., "The MVTec 3D-AD Dataset for Unsupervised 3D Anomaly Detection and Localization",
VISAPP 2022: the mean over ground-truth regions of the share that is found, against the
false-positive rate over all normal points, integrated up to a limit and divided by it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from zeroflaw.metrics.counts import Counts, Real, checked_scores, counted
from zeroflaw.types import Float64, Int64, ZeroflawError

LIMIT = 0.3
_SIGN, _ALL = np.uint32(1 << 31), np.uint32((1 << 32) - 1)


def au_pro(scores: ArrayLike, region: ArrayLike, limit: float = LIMIT) -> float:
    """Return the area under the PRO curve up to a false-positive rate, divided by that rate.

    scores: (N,), higher is more anomalous, of all scans of a category. region: (N,) integers, the
    number of a point's ground-truth region, −1 where normal; a region of another scan has another
    number. limit: more than 0, at most 1. Nan without a region or without a normal point.

    It is exact: every distinct score is a threshold, and the curve is straight between
    neighbouring ones, also where it is cut at the limit. Raises ZeroflawError for NaN or infinite
    scores and for regions that do not match them.
    """
    if not 0.0 < limit <= 1.0:
        raise ValueError(f"limit of the false-positive rate is {limit}; it must be in (0, 1]")
    array = checked_scores(scores)
    number = checked_regions(region, len(array))
    inside = np.flatnonzero(number >= 0)
    normal = array[number < 0]
    if len(inside) == 0 or len(normal) == 0:
        return math.nan
    normal.sort()
    anomalous, member = by_score(array[inside], dense_regions(number[inside]))
    counts = counted(anomalous, normal)
    value = np.repeat(_share_of_area(counts, limit), counts.same)
    # Within a region equal scores add equal values, so that their order does not matter.
    return float((np.bincount(member, weights=value) / np.bincount(member)).mean())


def checked_regions(region: ArrayLike, size: int) -> Int64:
    """Return the regions' numbers, (N,) int64, normal points below 0. Raises ZeroflawError."""
    array = np.asarray(region)
    if array.shape != (size,):
        raise ZeroflawError(f"{size} scores have regions of shape {array.shape}; give one for each")
    if array.dtype.kind not in "iu" and size:
        raise ZeroflawError(
            f"regions are of type {array.dtype}; give whole numbers, -1 for normal points"
        )
    return array.astype(np.int64, copy=False)


def dense_regions(number: Int64) -> Int64:
    """Return the same regions numbered from 0 without gaps. number: (K,), none below 0."""
    largest = int(number.max())
    if largest > 2 * len(number):
        return np.unique(number, return_inverse=True)[1]
    present = np.bincount(number) > 0
    return number if present.all() else (np.cumsum(present) - 1)[number]


def by_score(scores: Real, member: Int64) -> tuple[Real, Int64]:
    """Return the scores sorted, lowest first, and the regions in the same order.

    scores: (K,), finite; member: (K,), 0 to 2³² − 1. In single precision both are sorted as one
    number of 64 bits, the score's above the region's, which is quicker than sorting indices.
    """
    if scores.dtype != np.float32:
        order = np.argsort(scores)
        return scores[order], member[order]
    bits = (scores + np.float32(0.0)).view(np.uint32)  # −0 becomes 0, so that they tie
    key = (bits ^ np.where(bits < _SIGN, _SIGN, _ALL)).astype(np.uint64)
    key <<= np.uint64(32)
    key |= member.astype(np.uint64)
    key.sort()
    bits = (key >> np.uint64(32)).astype(np.uint32)
    ordered = (bits ^ np.where(bits < _SIGN, _ALL, _SIGN)).view(np.float32)
    return ordered, (key & np.uint64(_ALL)).astype(np.int64)


def _share_of_area(counts: Counts, limit: float) -> Float64:
    """What a point adds to its region's area, as a share of what one found at once would, (K,).

    The points of a score are found evenly while the false-positive rate rises from that of the
    higher scores to that which includes normal points of the same score.
    """
    end = limit * counts.normal
    start, stop = counts.above.astype(np.float64), counts.at_least.astype(np.float64)
    share = 1.0 - (start + stop) / (2.0 * end)
    cut = stop > end
    left = np.maximum(end - start[cut], 0.0)
    share[cut] = left**2 / (2.0 * end * (stop[cut] - np.minimum(start[cut], end)))
    return share
