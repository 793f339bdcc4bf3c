"""Consistent signs for normals that are known up to sign."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

from zeroflaw.types import Float64

_NEIGHBORS = 8


def orientation(points: Float64, normals: Float64) -> Float64:
    """Signs, +1 or −1, that make neighbouring normals agree and point away from the middle.

    points: (N, 3); normals: (N, 3), unit length. Returns (N,). Signs spread along the minimum
    spanning tree of the neighbour graph whose edges cost 1 − |cos| between normals; each connected
    piece is then turned so that its normals point away from the mean of all points on average.
    Source: Hoppe et al., "Surface reconstruction from unorganized points", SIGGRAPH 1992.
    """
    count = len(points)
    if count < 2:
        return np.ones(count)
    neighbors = min(_NEIGHBORS + 1, count)
    _, index = cKDTree(points).query(points, neighbors)
    start = np.repeat(np.arange(count), neighbors - 1)
    end = index[:, 1:].ravel()
    cost = 1.0 - np.abs(np.einsum("ij,ij->i", normals[start], normals[end]))
    # A cost of exactly zero would read as a missing edge.
    graph = csr_matrix((np.maximum(cost, 0.0) + 1e-9, (start, end)), shape=(count, count))
    tree = minimum_spanning_tree(graph.maximum(graph.T))
    tree = tree + tree.T
    pieces, piece = connected_components(tree, directed=False)
    signs = np.ones(count)
    _, roots = np.unique(piece, return_index=True)
    for root in roots:
        order, parent = breadth_first_order(tree, root, directed=False)
        agree = np.einsum("ij,ij->i", normals[order[1:]], normals[parent[order[1:]]])
        turn = dict(zip(order[1:].tolist(), np.where(agree < 0.0, -1.0, 1.0).tolist(), strict=True))
        for node, mother in zip(order[1:].tolist(), parent[order[1:]].tolist(), strict=True):
            signs[node] = signs[mother] * turn[node]
    outward = np.einsum("ij,ij->i", normals, points - points.mean(axis=0)) * signs
    balance = np.bincount(piece, weights=outward, minlength=pieces)
    signs *= np.where(balance < 0.0, -1.0, 1.0)[piece]
    return signs
