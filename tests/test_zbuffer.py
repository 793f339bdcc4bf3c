"""Drawing points large and closing gaps in a z-buffer equal slow loops over pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroflaw.geometry import zbuffer
from zeroflaw.geometry.zbuffer import COSINES, EMPTY
from zeroflaw.types import Int64


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(2, 12))
def test_widening_and_closing_equal_a_slow_version(seed: int, reach: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    depths = rng.integers(0, 1000, (2, size, size)) * COSINES
    buffer = np.where(rng.random((2, size, size)) < 0.6, depths, EMPTY)
    tensor = torch.from_numpy(buffer.astype(np.int32))
    lift = zbuffer.bulge(reach, 10.0)
    wide = slow_square(buffer, lift, min)
    assert np.array_equal(zbuffer.widened(tensor, lift).numpy(), wide)
    spread = zbuffer.Spread(1, reach)
    if reach > 0:
        around = np.pad(buffer, ((0, 0), (reach, reach), (reach, reach)), constant_values=EMPTY)
        wide = slow_square(around, lift, min)
        farthest = slow_square(wide, [0] * (reach + 1), max)
        closed = np.where(farthest < around - 40 * COSINES, wide, around)
        buffer = closed[:, reach:-reach, reach:-reach]
    assert np.array_equal(zbuffer.closed(tensor, spread, 10.0).numpy(), buffer)


def slow_square(buffer: Int64, lift: list[int], extreme: Callable[[list[int]], int]) -> Int64:
    size, reach = buffer.shape[-1], len(lift) - 1
    result = np.empty_like(buffer)
    for view in range(len(buffer)):
        for y in range(size):
            for x in range(size):
                around = [
                    buffer[view, b, a] + lift[abs(a - x)] + lift[abs(b - y)]
                    for b in range(max(0, y - reach), min(size, y + reach + 1))
                    for a in range(max(0, x - reach), min(size, x + reach + 1))
                ]
                result[view, y, x] = min(extreme(around), EMPTY)
    return result
