"""Nearest neighbours, patches around points, and values carried from few points to many."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from zeroflaw.types import Float32, Float64, Int64

BATCH_ENTRIES = 1 << 24


def knn(points: NDArray[Any], queries: NDArray[Any], k: int) -> tuple[Float32, Int64]:
    """Return the distances to the k nearest points of each query, and which they are.

    points: (N, 3), queries: (Q, 3), in one frame; k: 1 to N. Returns (Q, k) float32 in the
    points' unit and (Q, k) int64, nearest first. Raises ValueError where k is not in 1 to N.
    """
    distance, index = _search(points, queries, k)
    return distance.astype(np.float32), index


def group(points: NDArray[Any], centers: Int64, size: int) -> Int64:
    """Return the patches around some of the points: each center's nearest points.

    points: (N, 3); centers: (G,) indices into them; size: points in a patch, 1 to N. Returns
    (G, size) indices, nearest first.
    """
    return _search(points, np.asarray(points)[centers], size)[1]


def interpolate(
    known: NDArray[Any],
    values: NDArray[Any],
    queries: NDArray[Any],
    k: int = 3,
    mode: Literal["inverse_distance", "nearest"] = "inverse_distance",
) -> Float32:
    """Return values at the queries, from those at the k nearest known points.

    known: (K, 3); values: (K,); queries: (N, 3). "inverse_distance" weighs by 1/distance, so that
    a query on a known point takes its value; "nearest" takes the nearest point's. With fewer than
    k known points all are used. Returns (N,) float32.
    """
    if mode not in ("inverse_distance", "nearest"):
        raise ValueError(f"unknown mode {mode!r}; choose inverse_distance or nearest")
    values = np.asarray(values)
    if values.shape != (len(known),):
        raise ValueError(f"values have shape {values.shape}, expected ({len(known)},)")
    k = 1 if mode == "nearest" else min(k, len(known))
    distance, index = _search(known, queries, k)
    if k == 1:
        return values[index[:, 0]].astype(np.float32)
    weight = 1.0 / np.maximum(distance, np.finfo(np.float64).tiny ** 0.5)
    total = np.einsum("nk,nk->n", weight, values.astype(np.float64)[index])
    return (total / weight.sum(axis=1)).astype(np.float32)


def knn_batch(points: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the distances to the k nearest points of each query in each cloud of a batch.

    points: (B, N, 3), queries: (B, Q, 3), on one device; k: 1 to N. Returns (B, Q, k) distances
    and (B, Q, k) int64 indices, nearest first. Works in slices of the queries, so that memory
    stays bounded. Raises ValueError where k is not in 1 to N.
    """
    _check_k(k, points.shape[1])
    rows = max(1, BATCH_ENTRIES // max(1, points.shape[0] * points.shape[1]))
    distances, indices = [], []
    for part in queries.split(rows, dim=1):
        full = torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = full.topk(k, dim=2, largest=False, sorted=True)
        distances.append(nearest.values)
        indices.append(nearest.indices)
    return torch.cat(distances, dim=1), torch.cat(indices, dim=1)


def _search(points: NDArray[Any], queries: NDArray[Any], k: int) -> tuple[Float64, Int64]:
    """Return the exact (Q, k) distances and indices, the queries searched place by place."""
    points = np.asarray(points, dtype=np.float64)
    queries = np.asarray(queries, dtype=np.float64)
    _check_k(k, len(points))
    tree = cKDTree(points, leafsize=16, balanced_tree=False, compact_nodes=False)
    distance, index = tree.query(queries, k, workers=-1)
    return distance.reshape(-1, k), index.reshape(-1, k).astype(np.int64)


def _check_k(k: int, size: int) -> None:
    if not 1 <= k <= size:
        raise ValueError(f"cannot take {k} neighbours among {size} points; k must be 1 to N")
