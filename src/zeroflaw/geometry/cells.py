"""Points gathered in cells where they lie too dense to be joined one by one."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from zeroflaw.types import Float64, Int64

_NEAREST = 6


def linked_cells(points: Float64, reach: float) -> Int64:
    """A component's number for each point, any two points within reach being linked.

    points: (N, 3); reach: in their unit, more than zero. Returns (N,). All points of a cell whose
    diagonal is the reach are linked, so cells are the nodes; memory stays proportional to N however
    dense the points lie.
    """
    place = np.floor((points - points.min(axis=0)) / (reach / np.sqrt(3.0) * (1.0 - 1e-9)))
    cell, first = numbered(place)
    cells = place[first]
    tree = cKDTree(points)
    ranks = np.arange(2, min(_NEAREST + 1, len(points)) + 1)
    _, index = tree.query(points, ranks, distance_upper_bound=reach, workers=-1)
    start, rank = np.nonzero(index < len(points))
    links = np.stack([cell[start], cell[index[start, rank]]], axis=1)
    component = joined(links, len(cells))
    near = cKDTree(cells).query_pairs(2.0, p=np.inf, output_type="ndarray")
    near = near[component[near[:, 0]] != component[near[:, 1]]]
    if len(near) == 0:
        return component[cell]
    order = np.argsort(cell, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(cell, minlength=len(cells)))[:-1])
    touching = [
        pair for pair in near if _within(points[members[pair[0]]], points[members[pair[1]]], reach)
    ]
    return joined(np.concatenate([links, np.array(touching).reshape(-1, 2)]), len(cells))[cell]


def numbered(place: Float64) -> tuple[Int64, Int64]:
    """Each row's number, equal rows sharing one, and a row of each number. place: (N, 3)."""
    cell = np.zeros(len(place), dtype=np.int64)
    first = cell[:1]
    for axis in place.T:
        values, rank = np.unique(axis, return_inverse=True)
        # Numbers stay below N, so that a product of two cannot overflow.
        _, first, cell = np.unique(
            cell * len(values) + rank, return_index=True, return_inverse=True
        )
    return cell, first


def gathered(points: Float64, edge: float, most: int) -> tuple[Int64, Int64, float]:
    """Each point's cell in a grid, a point of each cell, and the length of the cells' edges.

    points: (N, 3); edge: the least length, more than zero; it grows until `most` cells suffice.
    """
    low = points.min(axis=0)
    extent = float((points.max(axis=0) - low).max())
    edge = max(edge, extent / 2.0**20)  # so that a cell's number fits 63 bits
    while True:
        wide = int(extent / edge) + 1
        number = np.zeros(len(points), dtype=np.int64)
        for axis in range(3):
            number *= wide
            number += ((points[:, axis] - low[axis]) / edge).astype(np.int64)
        _, first, cell = np.unique(number, return_index=True, return_inverse=True)
        if len(first) <= most:
            return cell, first, edge
        edge *= 1.5


def touching_cells(points: Float64, edge: float) -> Int64:
    """Number the clusters of points, those in cubes that touch at a face, edge or corner being one.

    points: (N, 3); edge: of the cubes, in the points' unit, more than zero. Returns (N,), from 0.
    Points within an edge's length of each other are always of one cluster, those farther apart than
    two diagonals of a cube only by way of others.
    """
    low = points.min(axis=0)
    extent = float((points.max(axis=0) - low).max())
    edge = max(edge, extent / 2.0**20)  # so that a cube's number fits 63 bits
    wide = int(extent / edge) + 2  # one more than there are, so that no step leads round the end
    number = np.zeros(len(points), dtype=np.int64)
    for axis in range(3):
        number *= wide
        number += ((points[:, axis] - low[axis]) / edge).astype(np.int64)
    cubes, cube = np.unique(number, return_inverse=True)
    steps = np.array([(x * wide + y) * wide + z for x, y, z in np.ndindex(3, 3, 3)])
    links = []
    for step in steps[14:] - steps[13]:  # the other half leads back
        place = np.minimum(np.searchsorted(cubes, cubes + step), len(cubes) - 1)
        start = np.flatnonzero(cubes[place] == cubes + step)
        links.append(np.stack([start, place[start]], axis=1))
    return joined(np.concatenate(links), len(cubes))[cube]


def joined(links: Int64, count: int) -> Int64:
    """A component's number for each of `count` nodes. links: (L, 2)."""
    edges = (np.ones(len(links), dtype=np.int32), (links[:, 0], links[:, 1]))
    component = connected_components(csr_matrix(edges, (count, count)), directed=False)[1]
    return np.asarray(component, dtype=np.int64)


def _within(first: Float64, second: Float64, reach: float) -> bool:
    """Whether a point of the first lies within reach of a point of the second."""
    distance, _ = cKDTree(first).query(second, distance_upper_bound=reach * (1.0 + 1e-12))
    return bool(np.isfinite(distance).any())
