"""Z-buffers of points in torch: what is nearest at every pixel, drawn large enough to leave no gap.

A buffer is int32, (V, S, S): depth in steps, in the upper bits, and the cosine of the surface to
the line of sight in the lower ones, so that the least number is the nearest point and carries its
brightness along. Equal numbers are equal pictures: the order of the points cannot matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

BITS = 11
COSINES = 2**BITS  # steps from 0 to 1, eight times as fine as a picture's greys
DEPTHS = 2**19  # of these, points take the part that leaves room for `widened`
EMPTY = DEPTHS * COSINES
OVERLAP = 1.6  # half a square's side by the distance of neighbours, as in render.py
GAPS = 3.0  # half the width of the gaps that are closed, in the same measure
POINT = 6 / 1024  # half a point's side by the picture's: 12 pixels of 1024, as the papers draw
FILLED = 0.7  # share of finer cells that hold points where points cover a surface
STEEPEST = 3.0  # slope up to which a surface does not hide its own points
LARGEST = 1 / 12  # of the picture's side, the most that half a square's may be


@dataclass(frozen=True)
class Spread:
    """How large points are drawn.

    splat: pixels to each side of a point's own. gap: half the width of the gaps that are closed
    between points, pixels, or 0.
    """

    splat: int
    gap: int


def spread_of(buffer: Tensor) -> Spread:
    """How large points must be drawn to close the surfaces they lie on, one for all views.

    buffer: with single points. Their distance is that of points thrown at random on the surface:
    of its pixels, exp(−density) stay empty. Its area is read off the finest cells that nearly all
    hold points. Points thrown at random leave gaps at any size of theirs; those are closed later.
    """
    held = (buffer < EMPTY).float()[:, None]
    size = buffer.shape[-1]
    filled, side = int(held.sum()), 1
    occupied = max(filled, 1)
    while True:
        held = max_pool2d(held, 2, ceil_mode=True)
        wider = int(held.sum())
        if filled > FILLED * 4 * wider or side > size * LARGEST:
            break
        filled, side = wider, 2 * side
    share = min(occupied / max(wider * 4 * side * side, 1), 0.999)
    distance = 1 / math.sqrt(-math.log1p(-share))
    most = max(1, int(size * LARGEST))
    splat = min(max(round(POINT * size), math.ceil(OVERLAP * distance - 0.5)), most)
    gap = min(max(0, math.ceil(GAPS * OVERLAP * distance - splat)), 2 * most)
    return Spread(splat, gap)


def bulge(reach: int, scale: float) -> list[int]:
    """What a point's number gains 0 to `reach` pixels beside its middle, along one axis.

    scale: steps of depth to a pixel. Squares bulge toward the viewer as a paraboloid that falls by
    half their width at the middle of a side: where they meet, the nearer middle wins, and a pixel
    with a point of its own shows it.
    """
    return [int(step * step / max(reach, 1) * scale) * COSINES for step in range(reach + 1)]


def hidden_depth(reach: int, scale: float) -> Tensor:
    """How far behind what its pixel shows a point may lie on the same surface, by its cosine.

    reach, scale: as for `bulge`. Returns (COSINES,) int32, in steps. On a plane of slope s, a point
    k pixels ahead lies nearer by less than s · (k + 1), less the bulge; the bound is over all k and
    both axes, and on top comes half a square's width for noise and curvature.
    """
    cosine = torch.arange(COSINES, dtype=torch.float64) / (COSINES - 1)
    slope = ((1 - cosine * cosine).sqrt() / cosine.clamp_min(1e-9)).clamp_max(STEEPEST)
    pixels = max(reach, 1) + 2**0.5 * slope + slope**2 * reach / 4
    steps: Tensor = (pixels * scale).int()
    return steps


def widened(buffer: Tensor, lift: Sequence[int]) -> Tensor:
    """Each pixel's least number among those around it, with what they gain by their distance.

    buffer: (V, S, S) int32; lift: by the number of pixels beside or below. Returns (V, S, S);
    EMPTY where no point reaches. The gain is a sum over both axes, hence two passes do.
    """
    for axis in (1, 2):
        size, least = buffer.shape[axis], buffer.clone()
        for step in range(1, min(len(lift), size)):
            raised, rest = buffer + lift[step], size - step
            ahead, behind = least.narrow(axis, 0, rest), least.narrow(axis, step, rest)
            torch.minimum(ahead, raised.narrow(axis, step, rest), out=ahead)
            torch.minimum(behind, raised.narrow(axis, 0, rest), out=behind)
        buffer = least
    return buffer.clamp_(max=EMPTY)


def closed(buffer: Tensor, spread: Spread, scale: float) -> Tensor:
    """The buffer with the gaps filled through which the background or a far surface shows.

    scale: steps of depth to a pixel. A gap is where closing the surface (its nearest depth within
    `spread.gap`, then the farthest of those) comes out far nearer; outlines do not grow.
    """
    if spread.gap == 0:
        return buffer
    around = pad(buffer, (spread.gap,) * 4, value=EMPTY)
    wide = widened(around, bulge(spread.gap, scale))
    far = int(4 * max(spread.splat, 1) * scale) << BITS
    gap = _farthest(wide, spread.gap) < around - far
    inner = slice(spread.gap, -spread.gap)
    return torch.where(gap[:, inner, inner], wide[:, inner, inner], buffer)


def _farthest(buffer: Tensor, reach: int) -> Tensor:
    """Each pixel's greatest number among those in a square around it; none is beyond the border."""
    for axis in (1, 2):
        size = buffer.shape[axis]
        ahead = behind = buffer
        covered = 0  # pixels on either side that the two already look at
        while covered < reach:
            step = min(covered + 1, reach - covered, size - 1)
            rest = size - step
            ahead, behind = ahead.clone(), behind.clone()
            one, other = ahead.narrow(axis, 0, rest), behind.narrow(axis, step, rest)
            torch.maximum(one, ahead.narrow(axis, step, rest).clone(), out=one)
            torch.maximum(other, behind.narrow(axis, 0, rest).clone(), out=other)
            covered += step
        buffer = torch.maximum(ahead, behind)
    return buffer


def depth_steps(deep: float, size: int) -> float:
    """How many steps of depth go on a pixel.

    deep: how far points reach in depth from the middle, pixels; size: of the pictures. Leaves room
    for what two bulges add, at their largest and at corners.
    """
    most = max(1, int(size * LARGEST))
    return DEPTHS / (2 * deep + 6 * most + 2)
