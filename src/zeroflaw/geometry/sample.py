"""Farthest point sampling: points of a cloud that cover it evenly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroflaw.types import Int64


def farthest_point_sample(points: NDArray[Any], count: int, start: int = 0) -> Int64:
    """Return the indices of points picked one by one, each the farthest from those before it.

    points: (N, 3), finite; computed in float32 if they are float32, else in float64. start: index
    of the first pick. Returns (count,), exactly the plain loop's picks: a tie goes to the lowest
    index, and no point is picked twice. Raises ValueError where count is not in 1 to N.
    """
    points = np.asarray(points)
    if points.dtype != np.float32:
        points = points.astype(np.float64)
    check_request(points.shape, count, start)
    x, y, z = np.ascontiguousarray(points.T)
    distance = np.full(len(points), np.inf, dtype=points.dtype)
    picks = np.empty(count, dtype=np.int64)
    pick = start
    for rank in range(count):
        picks[rank] = pick
        squared = (x - x[pick]) ** 2 + (y - y[pick]) ** 2 + (z - z[pick]) ** 2
        np.minimum(distance, squared, out=distance)
        distance[pick] = -1.0
        pick = int(distance.argmax())
    return picks


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
