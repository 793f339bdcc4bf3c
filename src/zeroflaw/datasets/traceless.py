"""Points without traces of the file that they came from.

Real3D-AD and Anomaly-ShapeNet keep good scans in binary files of float32, but the points of
defective ones in text, with other digits, in another order, with or without repeats. A look at
such traits alone tells good from defective. Here the points of both become alike.
"""

from __future__ import annotations

import math

import numpy as np

from zeroflaw.types import Bool, Float64, Int64

FINENESS = 2.0**-16  # of the diagonal: a cell is one to two of these
FLOAT32_FINENESS = 2.0**-22  # of the largest coordinate: a cell is at least 4 steps of float32
AXIS_BITS = 18  # hold a cell's place along an axis, at most 2¹⁶ + 1


def without_traces(points: Float64, labels: Bool) -> tuple[Float64, Bool]:
    """Return the points in the middles of the cells of a grid, each once, by rising x, y and z.

    points: (N, 3), finite; labels: (N,). Returns points (K, 3), K ≤ N, and their labels; a place
    is defective if any of its points is.

    A cell's edge is a power of two, one to two 65,536ths of the scan's diagonal: 1.5 to 3 µm on a
    part of 100 mm. This is far below what a scanner resolves, and far above the steps of float32
    (a hundred of them) and of text with six significant digits or more, so every cell is reached
    from either. Far from the origin float32 has longer steps, and so has the grid. Cells are cut
    at multiples of their edge and not rounded to the nearest, since float32 values that lie
    halfway would all go to even cells. The middles are exact in float32 as well as in float64.
    """
    edge = _cell_edge(points)
    cells: Int64 = np.floor(points / edge).astype(np.int64)
    low = cells.min(axis=0)
    cells -= low
    keys = cells[:, 0]
    for axis in (1, 2):
        keys = keys << AXIS_BITS | cells[:, axis]
    keys = np.sort(keys << 1 | labels)  # of a place's points, the defective come last
    place = keys >> 1
    keys = keys[np.append(place[1:] != place[:-1], True)]
    marked = (keys & 1).astype(bool)
    keys >>= 1
    mask = (1 << AXIS_BITS) - 1
    middles = np.empty((len(keys), 3), dtype=np.float64)
    for axis in range(3):
        middles[:, axis] = (keys >> AXIS_BITS * (2 - axis)) & mask
    middles += low + 0.5
    middles *= edge
    return middles, marked


def _cell_edge(points: Float64) -> float:
    """Return the power of two above what the scan's size and its place ask for."""
    low, high = points.min(axis=0), points.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))
    farthest = float(max(-low.min(), high.max()))
    _, exponent = math.frexp(max(diagonal * FINENESS, farthest * FLOAT32_FINENESS))
    return math.ldexp(1.0, exponent)
