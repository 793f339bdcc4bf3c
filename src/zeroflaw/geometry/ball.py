"""Ball query: the points around a centre, found without sorting all distances."""

from __future__ import annotations

import torch
from torch import Tensor

BATCH_ENTRIES = 1 << 24


def ball_query(points: Tensor, centers: Tensor, radius: float, size: int) -> Tensor:
    """Return, for each centre, the first points by index that lie within the radius.

    points: (B, N, 3); centers: (B, S, 3), each within the radius of some point; size: how many, at
    least 1. Returns (B, S, size) int64; a ball of fewer points repeats its first one. The rule is
    PointNet++'s (Qi et al., 2017) as its PyTorch port has it. Works in slices of the centres, so
    that memory stays bounded. Raises ValueError where a ball is empty.
    """
    if size < 1:
        raise ValueError(f"cannot take {size} points of a ball; size must be at least 1")
    rows = max(1, BATCH_ENTRIES // max(1, points.shape[0] * points.shape[1]))
    parts = [_query(points, part, radius, size) for part in torch.split(centers, rows, dim=1)]
    return torch.cat(parts, dim=1)


def _query(points: Tensor, centers: Tensor, radius: float, size: int) -> Tensor:
    batch, count, _ = centers.shape
    distance = torch.cdist(centers, points, compute_mode="donot_use_mm_for_euclid_dist")
    row, column = torch.nonzero((distance <= radius).flatten(0, 1), as_tuple=True)
    held = torch.bincount(row, minlength=batch * count)
    if not bool(held.all()):
        raise ValueError(f"a centre has no point within {radius}")
    begin = held.cumsum(0) - held
    place = torch.arange(len(row), device=row.device) - begin[row]
    index = column[begin][:, None].repeat(1, size)
    first = place < size
    index[row[first], place[first]] = column[first]
    return index.view(batch, count, size)
