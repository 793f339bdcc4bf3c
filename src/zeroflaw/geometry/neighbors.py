"""Nearest neighbours, patches around points, and values carried from few points to many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from zeroflaw.geometry.curve import z_order
from zeroflaw.types import Float32, Float64, Int64

SLICE = 1 << 18
BATCH_ENTRIES = 1 << 24
LEAST_DISTANCE = 1e-150


def knn(points: NDArray[Any], queries: NDArray[Any], k: int) -> tuple[Float32, Int64]:
    """Return the distances to the k nearest points of each query, and which they are.

    points: (N, 3), queries: (Q, 3), in one frame; k: 1 to N. Returns (Q, k) float32 in the
    points' unit and (Q, k) int64, nearest first. Raises ValueError where k is not in 1 to N.
    """
    distances = np.empty((len(queries), k), dtype=np.float32)
    indices = np.empty((len(queries), k), dtype=np.int64)
    for rows, distance, index in _nearest(points, queries, k):
        distances[rows], indices[rows] = distance, index
    return distances, indices


def group(points: NDArray[Any], centers: Int64, size: int) -> Int64:
    """Return the patches around some of the points: each center's nearest points.

    points: (N, 3); centers: (G,) indices into them; size: points in a patch, 1 to N. Returns
    (G, size) indices, nearest first: the center itself, or a copy of it.
    """
    return knn(points, np.asarray(points)[centers], size)[1]


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
    return interpolate_with_nearest(known, values, queries, 1 if mode == "nearest" else k)[0]


def interpolate_with_nearest(
    known: NDArray[Any], values: NDArray[Any], queries: NDArray[Any], k: int = 3
) -> tuple[Float32, Int64]:
    """Return what `interpolate` does by inverse distance, and which known point is nearest, (N,).

    For further values that only some of the queries need: one search serves both.
    """
    given = np.asarray(values, dtype=np.float64)
    if given.shape != (len(known),):
        raise ValueError(f"values have shape {given.shape}, expected ({len(known)},)")
    k = min(k, len(known))
    result = np.empty(len(queries), dtype=np.float32)
    nearest = np.empty(len(queries), dtype=np.int64)
    for rows, distance, index in _nearest(known, queries, k):
        nearest[rows] = index[:, 0]
        if k == 1:
            result[rows] = np.take(given, index[:, 0])
            continue
        weight = 1.0 / np.maximum(distance, LEAST_DISTANCE)
        total = np.einsum("nk,nk->n", weight, np.take(given, index))
        result[rows] = total / weight.sum(axis=1)
    return result, nearest


def knn_batch(points: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the distances to the k nearest points of each query in each cloud of a batch.

    points: (B, N, 3), queries: (B, Q, 3), on one device; k: 1 to N. Returns (B, Q, k) distances
    and (B, Q, k) int64 indices, nearest first. Works in slices of the queries, so that memory
    stays bounded. Raises ValueError where k is not in 1 to N.
    """
    _check_k(k, points.shape[1])
    rows = max(1, BATCH_ENTRIES // max(1, points.shape[0] * points.shape[1]))
    distances, indices = [], []
    for part in torch.split(queries, rows, dim=1):
        full = torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = full.topk(k, dim=2, largest=False, sorted=True)
        distances.append(nearest.values)
        indices.append(nearest.indices)
    return torch.cat(distances, dim=1), torch.cat(indices, dim=1)


def _nearest(
    points: NDArray[Any], queries: NDArray[Any], k: int
) -> Iterator[tuple[Int64, Float64, Int64]]:
    """Yield queries' rows, (R,), with their exact (R, k) distances and indices, place by place.

    Queries that lie together walk the same branches of the tree, so sorting them along a curve
    halves the time of a large search.
    """
    points = np.asarray(points, dtype=np.float64)
    queries = np.asarray(queries, dtype=np.float64)
    _check_k(k, len(points))
    tree = cKDTree(points, leafsize=16, balanced_tree=False)
    order = z_order(queries)
    for begin in range(0, len(order), SLICE):
        rows = order[begin : begin + SLICE]
        distance, index = tree.query(np.take(queries, rows, axis=0), k, workers=-1)
        yield rows, distance.reshape(-1, k), index.reshape(-1, k)


def _check_k(k: int, size: int) -> None:
    """Raise ValueError unless k of so many points can be taken."""
    if not 1 <= k <= size:
        raise ValueError(f"cannot take {k} neighbours among {size} points; k must be 1 to N")
