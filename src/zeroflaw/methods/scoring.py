"""From patch scores to point scores and one score for the object."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from zeroflaw.geometry.neighbors import interpolate, knn_batch
from zeroflaw.types import Float64

TEMPERATURE = 0.07
Interpolation = Literal["inverse_distance", "nearest"]
Rule = Literal["top", "max"]


def global_logit(embedding: Tensor, text: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return (g·t_a − g·t_n) / temperature. embedding: (B, D); text: (2, D), normal first."""
    similarity = embedding @ text.T
    return (similarity[:, 1] - similarity[:, 0]) / temperature


def point_mean(patch: Tensor, index: Tensor, points: Tensor) -> Tensor:
    """Return each point's mean over the patches that hold it.

    patch: (B, G); index: (B, G, M) int64 into N points; points: (B, N, 3). Returns (B, N). A
    point that no patch holds takes the value of its nearest point that one does.
    """
    batch, groups, size = index.shape
    count = points.shape[1]
    flat = index.reshape(batch, groups * size)
    values = patch[..., None].expand(-1, -1, size).reshape(batch, groups * size)
    total = torch.zeros(batch, count, dtype=patch.dtype, device=patch.device)
    total = total.scatter_add(1, flat, values)
    held = torch.zeros_like(total).scatter_add(1, flat, torch.ones_like(values))
    mean = total / held.clamp_min(1)
    if bool((held > 0).all()):
        return mean
    rows = [_fill(mean[b], held[b] > 0, points[b]) for b in range(batch)]
    return torch.stack(rows)


def _fill(values: Tensor, known: Tensor, points: Tensor) -> Tensor:
    """Give the unknown values those of their nearest known points. values, known: (N,)."""
    if bool(known.all()):
        return values
    _, nearest = knn_batch(points[known][None], points[~known][None], 1)
    filled = values.clone()
    filled[~known] = values[known][nearest[0, :, 0]]
    return filled


def combine_object(
    whole: Tensor, patch: Tensor, alpha: float = 0.5, rule: Rule = "top", share: float = 0.2
) -> Tensor:
    """Return α · whole + (1 − α) · patches.

    whole: (B,), patch: (B, G), both logits or both probabilities. rule: "top" takes the mean of
    the highest `share` of the patches (the authors' later rule), "max" the highest one (the
    paper's table).
    """
    if rule == "max":
        part = patch.amax(dim=1)
    elif rule == "top":
        kept = max(1, int(patch.shape[1] * share))
        part = patch.topk(kept, dim=1).values.mean(dim=1)
    else:
        raise ValueError(f'rule is {rule!r}; it must be "top" or "max"')
    return alpha * whole + (1 - alpha) * part


def to_full_resolution(
    known: Float64, values: Tensor, queries: Float64, mode: Interpolation = "inverse_distance"
) -> Tensor:
    """Return a value for every query point from the scored points. Returns (N,) float32.

    known: (K, 3) and queries: (N, 3) in one frame; values: (K,). mode: "inverse_distance" weighs
    the 3 nearest, "nearest" takes the nearest (the authors' code).
    """
    scored = values.detach().cpu().float().numpy()
    return torch.from_numpy(interpolate(known, scored, queries, k=3, mode=mode))
