"""The Z-order curve: an order of points in which neighbours in space are mostly neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroflaw.types import Int64

COARSE_BITS = 5
FINE_BITS = 4
SAMPLE = 4096
TAIL = 0.01
MARGIN = 0.2


def z_order(points: NDArray[Any]) -> Int64:
    """Return the indices that sort points along the Z-order curve through a 512³ grid.

    points: (N, 3), finite. Points of one cell keep their order. The grid spans the bulk of the
    points, so that a few stray ones do not push all others into one cell; they go to its border.
    Two radix sorts of 16-bit keys, the fine one first, since NumPy sorts no wider key in linear
    time. Source: Morton, 1966.
    """
    if len(points) == 0:
        return np.empty(0, dtype=np.int64)
    columns = [np.ascontiguousarray(points[:, axis]) for axis in range(3)]
    few = points[:: max(1, len(points) // SAMPLE)]
    low, high = np.quantile(few, (TAIL, 1 - TAIL), axis=0)
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
    extent = float((high - low).max())
    cells = 1 << (COARSE_BITS + FINE_BITS)
    scale = (cells - 0.5) / extent if extent > 0 else 0.0
    coarse = np.zeros(len(points), dtype=np.uint16)
    fine = np.zeros(len(points), dtype=np.uint16)
    coarse_spread, fine_spread = _spread(COARSE_BITS), _spread(FINE_BITS)
    for column, least in zip(columns, low, strict=True):
        offset = column - column.dtype.type(least)
        offset *= offset.dtype.type(scale)
        cell = np.clip(offset, 0, cells - 1).astype(np.uint16)
        coarse <<= 1
        coarse |= np.take(coarse_spread, cell >> FINE_BITS)
        fine <<= 1
        fine |= np.take(fine_spread, cell & ((1 << FINE_BITS) - 1))
    order = np.argsort(fine, kind="stable")
    return order[np.argsort(np.take(coarse, order), kind="stable")]


def _spread(bits: int) -> NDArray[np.uint16]:
    """Return each number of so many bits with two zeros put between its binary digits."""
    number = np.arange(1 << bits)
    spread = sum(((number >> bit) & 1) << (3 * bit) for bit in range(bits))
    return np.asarray(spread, dtype=np.uint16)
