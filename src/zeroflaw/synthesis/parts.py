"""What a part is made of: pieces of its mesh that could be absent, and what lies under them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from zeroflaw.synthesis.shapes import Mesh, Shape, Triangles, placed_triangles
from zeroflaw.types import Bool, Float32, Float64, Int64

SHARES = (0.001, 0.3)
"""Least and most of the part's area that a feature has."""
MOST_WINDINGS = 2_000_000
"""Places times samples whose share of a winding number is computed at once."""


@dataclass(frozen=True, eq=False)
class Feature:
    """A boss, rib, limb or handle. gone: (F,) bool, of the shape's triangles, those it consists of.

    come: the surface that is there without it, in the part's unit; None where the part's other
    triangles are all there is.
    """

    gone: Bool
    come: Triangles | None


def features(shape: Shape) -> list[Callable[[], Feature]]:
    """What makes the shape's features, one each."""
    if shape.variants:
        return [partial(_difference, shape, variant) for variant in shape.variants]
    face = shape.triangles.face
    return [partial(Feature, piece[face], None) for piece in _closed_pieces(shape)]


def _difference(shape: Shape, variant: Callable[[], Mesh]) -> Feature:
    """The faces that the shape has and its variant has not, and the other way about."""
    triangles, other = shape.triangles, variant()
    vertices = np.concatenate([shape.vertices, other[0].astype(np.float32)]).astype(np.float64)
    faces = np.concatenate([shape.faces, other[1] + len(shape.vertices)])
    key = _face_keys(_vertex_numbers(vertices), faces)
    ours, theirs = key[: len(shape.faces)], key[len(shape.faces) :]
    gone = ~np.isin(ours, theirs)
    come = other[1][~np.isin(theirs, ours)]
    made = placed_triangles(other[0], come, triangles.center, triangles.diagonal)
    return Feature(gone[triangles.face], made)


def _closed_pieces(shape: Shape) -> list[Bool]:
    """Connected pieces of the mesh that enclose a volume of their own; a mask of faces each."""
    number = _vertex_numbers(shape.vertices.astype(np.float64))
    faces = number[shape.faces]
    count = len(shape.vertices)
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [0, 2]]]).T
    graph = coo_array((np.ones(ends.shape[1], np.int8), tuple(ends)), (count, count))
    pieces = connected_components(graph, directed=False)[1][faces[:, 0]]
    triangles = shape.triangles
    area = np.zeros(len(faces))
    area[triangles.face] = np.diff(triangles.cumulative, prepend=0)
    share = np.bincount(pieces, area) / triangles.area
    likely = np.flatnonzero((share > SHARES[0]) & (share < SHARES[1]))
    masks = [pieces == piece for piece in likely]
    return [mask for mask in masks if _closed(faces[mask])]


def _closed(faces: Int64) -> bool:
    """Whether every edge is passed as often in one direction as in the other."""
    corner = np.sort(faces, axis=1)
    faces = faces[(corner[:, :-1] != corner[:, 1:]).all(axis=1)]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    base = int(edges.max(initial=0)) + 1
    there, back = edges @ [base, 1], edges @ [1, base]
    return bool(len(edges)) and bool((np.sort(there) == np.sort(back)).all())


def _vertex_numbers(vertices: Float64) -> Int64:
    """A number for each vertex, the same for vertices at the same place."""
    x, y, z = vertices.T
    sums = 0.6180339887 * x + 0.4142135623 * y + 0.7320508075 * z
    order = np.argsort(sums, kind="stable")
    line = vertices[order]
    new = np.r_[True, (line[1:] != line[:-1]).any(axis=1)]
    number = np.empty(len(vertices), np.int64)
    number[order] = order[new][np.cumsum(new) - 1]
    return number


def _face_keys(number: Int64, faces: Int64) -> Int64:
    """One integer per face, the same for faces of the same corners."""
    corner = np.unique(number, return_inverse=True)[1][faces].astype(np.int64)
    corner.sort(axis=1)
    base = int(corner.max(initial=0)) + 1
    return np.asarray((corner[:, 0] * base + corner[:, 1]) * base + corner[:, 2])


def enclosed(places: Float32, surface: Float32, normals: Float32, area: float) -> Bool:
    """Which places (Q, 3) a closed surface goes around: its winding number about each of them.

    surface, normals: (S, 3) samples of it with the normals of its mesh, each standing for `area`.
    """
    few = min(600, max(200, MOST_WINDINGS // max(len(places), 1)))
    step = -(-len(surface) // few)
    samples, ways = surface[::step], normals[::step]
    square = (places * places).sum(axis=1)[:, None] + (samples * samples).sum(axis=1)
    square -= 2 * places @ samples.T
    square = np.maximum(square, 0) + np.float32(0.25 * step * area)
    along = (samples * ways).sum(axis=1) - places @ ways.T
    winding = (along / (square * np.sqrt(square))).sum(axis=1) * step * area / (4 * np.pi)
    return np.asarray(np.abs(winding) > 0.5)
