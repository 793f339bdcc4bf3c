"""Smoothing of point scores over the surface: what a Gaussian filter is to a picture.

On an organised scan it is that filter, over the scan's grid. Any other cloud is smoothed over the
graph of its nearest neighbours, so that neighbours are neighbours in space.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from zeroflaw.geometry.neighbors import interpolate, knn
from zeroflaw.geometry.thin import thin
from zeroflaw.types import Float32, Float64, Int64, Scan

NEIGHBORS = 24
MOST_ROUNDS = 16
DENSE = 100_000  # points; more would cost seconds and reach less far than the Gaussian
CELL = 0.5  # of sigma, the most that the cells may lie apart


def smooth_points(values: Tensor, scan: Scan, sigma: float) -> Tensor:
    """Return the points' values smoothed by a Gaussian. values: (N,), one per point of the scan.

    sigma: its standard deviation, as a share of the scan's extent: of the longer side of the grid
    of an organised scan, else of twice the largest distance from the mean. 0 changes nothing.
    Returns (N,) float32 on the same device.
    """
    if sigma == 0 or len(scan) < 2:
        return values.float()
    given = values.detach().cpu().numpy().astype(np.float64)
    cells = grid_cells(scan)
    if cells is not None and scan.grid is not None:
        smoothed = smooth_grid(given, cells, scan.grid, sigma * max(scan.grid))
    else:
        offset = scan.points - scan.points.mean(axis=0)
        extent = 2 * float(np.sqrt(np.einsum("ij,ij->i", offset, offset).max()))
        smoothed = smooth_graph(given, offset, sigma * extent)
    return torch.from_numpy(smoothed).to(values.device)


def grid_cells(scan: Scan) -> Int64 | None:
    """Return the grid cells, row by row, of an organised scan's points, (N,); else None."""
    if scan.grid is None:
        return None
    cells = np.arange(len(scan)) if scan.valid is None else np.flatnonzero(scan.valid)
    if len(cells) != len(scan) or (len(cells) and cells[-1] >= scan.grid[0] * scan.grid[1]):
        return None
    return cells.astype(np.int64)


def smooth_grid(
    values: NDArray[np.float64], cells: Int64, grid: tuple[int, int], sigma: float
) -> Float32:
    """Return the means over neighbouring cells that hold points, by Gaussian weights.

    values: (N,); cells: (N,), row by row; sigma: in cells. Empty cells take no part.
    """
    total, held = np.zeros(grid), np.zeros(grid)
    total.ravel()[cells], held.ravel()[cells] = values, 1.0
    total = gaussian_filter(total, sigma, mode="constant")
    held = gaussian_filter(held, sigma, mode="constant")
    smoothed: Float32 = (total.ravel()[cells] / held.ravel()[cells]).astype(np.float32)
    return smoothed


def smooth_graph(values: NDArray[np.float64], points: Float64, sigma: float) -> Float32:
    """Return the means over nearest neighbours, by Gaussian weights of their distance.

    values: (N,); points: (N, 3); sigma: in the points' unit. Of more than `DENSE` points the means
    of so many small cells are smoothed and carried back, as long as these lie well within sigma.
    """
    if len(points) > DENSE:
        thinned = thin(points, DENSE)
        near, index = knn(thinned.mean, thinned.mean, min(NEIGHBORS, len(thinned)))
        if near.shape[1] > 1 and float(np.median(near[:, 1])) <= CELL * sigma:
            means = np.bincount(thinned.cell, values) / thinned.count
            return interpolate(thinned.mean, _spread(means, near, index, sigma), points)
    near, index = knn(points, points, min(NEIGHBORS, len(points)))
    return _spread(values, near, index, sigma).astype(np.float32)


def _spread(values: Float64, near: Float32, index: Int64, sigma: float) -> Float64:
    """Return the values, (N,), spread over neighbours: distances and which they are, (N, K).

    On a dense cloud the nearest neighbours reach less far than the Gaussian: the means are taken
    again, until they together spread the values as far (at most 16 times).
    """
    squared = near.astype(np.float64) ** 2
    weight = np.exp(-squared / (2 * sigma**2))
    weight /= weight.sum(axis=1, keepdims=True)
    reached = float(np.median((weight * squared).sum(axis=1))) / 2  # variance along one axis
    rounds = MOST_ROUNDS if reached == 0 else round(sigma**2 / reached)
    alone = reached < 1e-6 * sigma**2  # so sparse a cloud, or all copies: nothing to smooth over
    for _ in range(1 if alone else min(max(rounds, 1), MOST_ROUNDS)):
        values = np.einsum("nk,nk->n", weight, np.take(values, index))
    return values
