"""Scores of pixels carried back to the points that the pixels show."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

TIES = 8  # how many points as near as the nearest are looked for


def back_project(
    maps: Tensor, pixel: Tensor, visible: Tensor, points: Tensor | NDArray[Any]
) -> Tensor:
    """Average each point's pixels over the views that see it.

    maps: (..., V, S, S); pixel: (V, N) int64, row · S + column; visible: (V, N) bool; points:
    (N, 3), any unit. Returns (..., N). A point that no view sees takes the value of its nearest
    seen neighbour in space, the mean of several as near. Differentiable in maps. Source: PointAD
    (NeurIPS 2024), where unseen points are left at 0. Raises ValueError where no point is seen.
    """
    flat = maps.flatten(-2)
    total = flat.new_zeros((*flat.shape[:-2], pixel.shape[1]))
    for view, (where, seen) in enumerate(zip(pixel, visible, strict=True)):
        total = total + flat[..., view, :].index_select(-1, where) * seen
    count = visible.sum(dim=0)
    mean = total / count.clamp_min(1)
    unseen = torch.nonzero(count == 0)[:, 0]
    if len(unseen) == 0:
        return mean
    nearest, weight = nearest_seen(count > 0, points)
    taken = mean[..., nearest.to(mean.device)] * weight.to(mean)
    return mean.index_copy(-1, unseen, taken.sum(dim=-1))


def nearest_seen(
    seen: Tensor, points: Tensor | NDArray[Any], asked: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Which seen points are nearest to each unseen one, and their shares.

    seen: (N,) bool; points: (N, 3); asked: (U,) int64, the points to look for, by default all that
    are unseen. Returns (U, K) int64 and (U, K) float64; shares of those as near as the nearest are
    equal and add up to 1.
    """
    known = torch.nonzero(seen)[:, 0].cpu().numpy()
    if len(known) == 0:
        raise ValueError("no view sees any point, so there is nothing to carry back")
    position = torch.as_tensor(points).detach().cpu().numpy().astype(np.float64, copy=False)
    asked = torch.nonzero(~seen)[:, 0] if asked is None else asked
    unknown = asked.cpu().numpy()
    ranks = np.arange(1, min(TIES, len(known)) + 1)
    distance, index = cKDTree(position[known]).query(position[unknown], ranks, workers=-1)
    share = (distance <= distance[:, :1] * (1 + 1e-9)).astype(np.float64)
    share /= share.sum(axis=1, keepdims=True)
    return torch.from_numpy(known[index]), torch.from_numpy(share)
