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
LARGEST = 1 / 12  # of the picture's side, the most that half a square's may be


@dataclass(frozen=True)
class Spread:
    """How large points are drawn. splat: pixels to each side. gap: half the width of what is closed
    between them, pixels, 0 where nothing is."""

    splat: int
    gap: int

    @property
    def depth(self) -> int:
        """Pixels of depth below which two points are taken to lie on one surface, face on."""
        return max(self.splat, 1)


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

    scale: steps of depth to a pixel. Squares bulge toward the viewer as a paraboloid, by their
    middle's half width at the middle of a side, so that where they meet, the nearer middle wins.
    """
    return [int(step * step / (2 * max(reach, 1)) * scale) * COSINES for step in range(reach + 1)]


def widened(buffer: Tensor, lift: Sequence[int]) -> Tensor:
    """Each pixel's least number among those around it, with what they gain by their distance.

    buffer: (V, S, S) int32; lift: by the number of pixels beside or below. Returns (V, S, S);
    EMPTY where no point reaches. The sum over both axes is a square's, hence two passes do.
    """
    for axis in (1, 2):
        size, least = buffer.shape[axis], buffer.clone()
        for step in range(1, min(len(lift), size)):
            raised = buffer + lift[step]
            ahead, behind = (
                least.narrow(axis, 0, size - step),
                least.narrow(axis, step, size - step),
            )
            torch.minimum(ahead, raised.narrow(axis, step, size - step), out=ahead)
            torch.minimum(behind, raised.narrow(axis, 0, size - step), out=behind)
        buffer = least
    return buffer.clamp_(max=EMPTY)


def closed(buffer: Tensor, spread: Spread, scale: float) -> Tensor:
    """The buffer with the gaps filled through which the background or a far surface shows.

    scale: steps of depth to a pixel. A gap is where closing the surface (its nearest depth within
    `spread.gap`, then the farthest of those) comes out far nearer; outlines do not grow.
    """
    if spread.gap == 0:
        return buffer
    width = 2 * spread.gap + 1
    wide = widened(buffer, bulge(spread.gap, scale))
    depth = (wide >> BITS).float()[:, None]
    depth = max_pool2d(depth, (1, width), 1, (0, spread.gap))
    depth = max_pool2d(depth, (width, 1), 1, (spread.gap, 0))[:, 0]
    far = 4 * spread.depth * scale
    return torch.where(depth < (buffer >> BITS).float() - far, wide, buffer)
