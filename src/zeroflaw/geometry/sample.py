"""Farthest point sampling: points of a cloud that cover it evenly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroflaw.geometry.curve import z_order
from zeroflaw.types import Int64

Real = NDArray[Any]

BLOCKS = 4096
BLOCK_SIZE = (32, 256)
FAMILY = 16
CANDIDATES = 4096
SLICE_VALUES = 1 << 14


def farthest_point_sample(points: Real, count: int, start: int = 0) -> Int64:
    """Return the indices of points picked one by one, each the farthest from those before it.

    points: (N, 3), finite; computed in float32 if they are float32, else in float64. start: index
    of the first pick. Returns (count,), exactly the plain loop's picks: a tie goes to the lowest
    index, and no point is picked twice. Raises ValueError where count is not in 1 to N.

    Distances to the picks only shrink. So all points beyond some floor can be taken aside, and
    picks made among them alone are right as long as the farthest stays beyond the floor; then the
    whole cloud learns of those picks at once, and only in the blocks that they can change.
    """
    points = np.asarray(points)
    if points.dtype != np.float32:
        points = points.astype(np.float64)
    check_request(points.shape, count, start)
    field = _DistanceField(points, start)
    picks = np.empty(count, dtype=np.int64)
    picks[0] = start
    done, margin = 1, 0.2
    while done < count:
        farthest = field.farthest.max()
        if farthest == 0:  # only copies of the picks are left
            rest = np.setdiff1d(np.arange(len(points)), picks[:done], assume_unique=True)
            picks[done:] = rest[: count - done]
            break
        floor = min(farthest * (1 - farthest.dtype.type(margin)), np.nextafter(farthest, 0))
        index, place, squared = field.beyond(floor)
        chosen = _pick_above(floor, place, squared, count - done)
        picks[done : done + len(chosen)] = index[chosen]
        done += len(chosen)
        if done < count:
            field.add(place[:, chosen].T)
        growth = (CANDIDATES / len(index)) ** 0.5
        margin = min(margin * min(max(growth, 0.5), 1.5), 0.5)
    return picks


def _pick_above(floor: np.floating[Any], place: Real, squared: Real, most: int) -> list[int]:
    """Return the picks among candidates, in order, until the farthest is no longer past the floor.

    place: (3, K); squared: (K,), squared distances to the picks so far, which it overwrites.
    """
    columns = np.ascontiguousarray(place.T)[:, :, None]
    offset, total = np.empty_like(place), np.empty_like(squared)
    x, y, z = offset
    chosen: list[int] = []
    while len(chosen) < most:
        pick = int(squared.argmax())
        if squared[pick] <= floor:
            break
        chosen.append(pick)
        np.subtract(place, columns[pick], out=offset)
        np.multiply(offset, offset, out=offset)
        np.add(x, y, out=total)
        np.add(total, z, out=total)
        np.minimum(squared, total, out=squared)
    return chosen


class _DistanceField:
    """Squared distances of all points to the picks so far, in boxed blocks of close points.

    Blocks are equal runs of the points along the Z-order curve, padded with a copy that is never
    picked; FAMILY blocks in a row form a family. A pick changes nothing in a box that lies at
    least as far from it as the box's farthest point lies from the picks before. This holds in
    rounded arithmetic too: rounding is monotone and boxes are measured by the points' formula.
    """

    def __init__(self, points: Real, start: int) -> None:
        size = min(max(len(points) // BLOCKS, BLOCK_SIZE[0]), BLOCK_SIZE[1])
        order = z_order(points)
        padding = -len(points) % (size * FAMILY)
        self.index = np.concatenate([order, np.repeat(order[-1:], padding)])
        self.place = np.stack(
            [np.take(np.ascontiguousarray(points[:, axis]), self.index) for axis in range(3)]
        ).reshape(3, -1, size)
        self.low, self.high = self.place.min(axis=2), self.place.max(axis=2)
        families = (3, -1, FAMILY)
        self.family_low = self.low.reshape(families).min(axis=2)
        self.family_high = self.high.reshape(families).max(axis=2)
        self.squared = _squared_norm(self.place - points[start][:, None, None])
        self.squared.reshape(-1)[len(points) :] = -1.0
        self.farthest = self.squared.max(axis=1)
        if not np.isfinite(self.farthest.max()):
            raise ValueError("points or their squared distances are not finite")

    def beyond(self, floor: np.floating[Any]) -> tuple[Int64, Real, Real]:
        """Return the points past the floor by rising index: indices, places (3, K), distances."""
        block = np.flatnonzero(self.farthest > floor)
        row, column = np.divmod(np.flatnonzero(self.squared[block] > floor), self.squared.shape[1])
        spot = block[row] * self.squared.shape[1] + column
        spot = spot[np.argsort(self.index[spot])]
        place = np.take(self.place.reshape(3, -1), spot, axis=1)
        return self.index[spot], place, self.squared.reshape(-1)[spot]

    def add(self, picks: Real) -> None:
        """Bring the distances up to date with more picks, (P, 3)."""
        block, pick = self._reached(picks)
        first = np.flatnonzero(np.diff(block, prepend=-1))
        turn = np.arange(len(block)) - np.repeat(first, np.diff(first, append=len(block)))
        order = np.argsort(turn, kind="stable")  # no block twice in one turn
        block, pick = block[order], pick[order]
        rows = max(1, SLICE_VALUES // self.squared.shape[1])
        ends = np.cumsum(np.bincount(turn))
        for begin, end in zip(np.concatenate([[0], ends[:-1]]), ends, strict=True):
            for at in range(begin, end, rows):
                self._shrink(block[at : min(at + rows, end)], picks[pick[at : min(at + rows, end)]])
        touched = block[: ends[0]]
        self.farthest[touched] = self.squared[touched].max(axis=1)

    def _reached(self, picks: Real) -> tuple[Int64, Int64]:
        """Return the pairs of block and pick, by rising block, where the pick may change it."""
        place = picks.T
        family_farthest = self.farthest.reshape(-1, FAMILY).max(axis=1)
        gap = _box_distance(
            self.family_low[:, :, None], self.family_high[:, :, None], place[:, None, :]
        )
        family, pick = np.nonzero(gap < family_farthest[:, None])
        block = (family[:, None] * FAMILY + np.arange(FAMILY)).reshape(-1)
        pick = np.repeat(pick, FAMILY)
        gap = _box_distance(
            np.take(self.low, block, axis=1),
            np.take(self.high, block, axis=1),
            np.take(place, pick, axis=1),
        )
        reached = np.flatnonzero(gap < self.farthest[block])
        reached = reached[np.argsort(block[reached], kind="stable")]
        return block[reached], pick[reached]

    def _shrink(self, block: Int64, pick: Real) -> None:
        """Lower the distances in some blocks, each by its own pick, (len(block), 3)."""
        offset = np.take(self.place, block, axis=1)
        offset -= pick.T[:, :, None]
        self.squared[block] = np.minimum(self.squared[block], _squared_norm(offset))


def _box_distance(low: Real, high: Real, place: Real) -> Real:
    """Return the squared distances from places to boxes; axes come first."""
    return _squared_norm(np.maximum(np.maximum(low - place, place - high), 0))


def _squared_norm(offset: Real) -> Real:
    """Return x² + y² + z², added in this order; overwrites offset, whose axes come first."""
    np.multiply(offset, offset, out=offset)
    total: Real = offset[0] + offset[1]
    total += offset[2]
    return total


def farthest_point_sample_batch(points: Tensor, count: int, start: int = 0) -> Tensor:
    """Return, for each cloud of a batch, the indices that farthest point sampling picks.

    points: (B, N, 3), on any device. start: index of the first pick in every cloud. Returns
    (B, count) int64 on the same device. No point is ignored (`pointnet2_ops` skips those near the
    origin) and none is picked twice. Raises ValueError where count is not in 1 to N.
    """
    check_request(tuple(points.shape[1:]), count, start)
    batch, size, _ = points.shape
    x, y, z = points.detach().permute(2, 0, 1).contiguous()
    distance = torch.full((batch, size), torch.inf, dtype=x.dtype, device=x.device)
    picks = torch.empty((batch, count), dtype=torch.int64, device=x.device)
    pick = torch.full((batch, 1), start, dtype=torch.int64, device=x.device)
    for rank in range(count):
        picks[:, rank : rank + 1] = pick
        squared = (x - x.gather(1, pick)) ** 2
        squared += (y - y.gather(1, pick)) ** 2
        squared += (z - z.gather(1, pick)) ** 2
        distance = torch.minimum(distance, squared)
        distance.scatter_(1, pick, -1.0)
        pick = distance.argmax(dim=1, keepdim=True)
    return picks


def check_request(shape: tuple[int, ...], count: int, start: int) -> None:
    """Raise ValueError unless `count` of the (N, 3) points can be picked from `start` on."""
    if len(shape) != 2 or shape[1] != 3:
        raise ValueError(f"points have shape {shape}, expected (N, 3)")
    if not 1 <= count <= shape[0]:
        raise ValueError(f"cannot pick {count} of {shape[0]} points; count must be 1 to N")
    if not 0 <= start < shape[0]:
        raise ValueError(f"start index {start} is outside the {shape[0]} points")
