"""Meshes by revolving, sweeping and extruding outlines."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.spatial import Delaunay, cKDTree

from zeroflaw.synthesis.shapes import Int32, Mesh, Shape
from zeroflaw.types import Bool, Float64


def shaped(vertices: Float64, faces: Int32, name: str) -> Shape:
    """A mesh as a shape of the category `name`."""
    return Shape(vertices.astype(np.float32), faces.astype(np.int32), name, name, "solids")


def joined(parts: list[Mesh], name: str) -> Shape:
    """Several meshes as one shape; they may pass through each other."""
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in parts])
    faces = np.concatenate([face + start for (_, face), start in zip(parts, starts, strict=False)])
    return shaped(np.concatenate([vertices for vertices, _ in parts]), faces, name)


def grid_faces(rows: int, columns: int, *, around: bool = False, closed: bool = False) -> Int32:
    """Triangles of a grid of vertices, row by row; (F, 3).

    around: the last column joins the first. closed: the last row joins the first.
    """
    r, c = np.meshgrid(
        np.arange(rows if closed else rows - 1),
        np.arange(columns if around else columns - 1),
        indexing="ij",
    )
    down, right = (r + 1) % rows, (c + 1) % columns
    a, b = r * columns + c, r * columns + right
    d, e = down * columns + c, down * columns + right
    quads = np.stack([np.stack([a, b, e], axis=-1), np.stack([a, e, d], axis=-1)])
    return quads.reshape(-1, 3).astype(np.int32)


def revolved(profile: Float64, segments: int = 72) -> Mesh:
    """The surface that a profile (P, 2) of radius and height sweeps about the z axis."""
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    radius, height = profile[:, :1], profile[:, 1:]
    vertices = np.stack(
        [
            radius * np.cos(angle),
            radius * np.sin(angle),
            np.broadcast_to(height, (len(profile), segments)),
        ],
        axis=-1,
    )
    return vertices.reshape(-1, 3), grid_faces(len(profile), segments, around=True)


def smooth_curve(knots: Float64, count: int) -> Float64:
    """A curve through knots (K, D) that does not overshoot; (count, D)."""
    return np.asarray(
        PchipInterpolator(np.linspace(0, 1, len(knots)), knots)(np.linspace(0, 1, count))
    )


def swept(path: Float64, radius: Float64, segments: int = 32) -> Mesh:
    """A round tube along a path (P, 3) with a radius (P,) at each point; ends are closed."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.cross(tangent[0], np.eye(3)[np.argmin(np.abs(tangent[0]))])
    sides = np.empty_like(path)
    for i, ahead in enumerate(tangent):
        side = side - (side @ ahead) * ahead
        side = side / np.linalg.norm(side)
        sides[i] = side
    other = np.cross(tangent, sides)
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)[None, :, None]
    ring = np.cos(angle) * sides[:, None] + np.sin(angle) * other[:, None]
    rings = path[:, None] + radius[:, None, None] * ring
    rings = np.concatenate(
        [
            np.broadcast_to(path[0], (1, segments, 3)),
            rings,
            np.broadcast_to(path[-1], (1, segments, 3)),
        ]
    )
    return rings.reshape(-1, 3), grid_faces(len(path) + 2, segments, around=True)


def rounded_curve(knots: Float64, count: int) -> Float64:
    """A curve through knots (K, D) without kinks; (count, D)."""
    return np.asarray(CubicSpline(np.linspace(0, 1, len(knots)), knots)(np.linspace(0, 1, count)))


def extruded(outlines: list[Float64], height: float, step: float) -> Mesh:
    """A plate with the outlines' area (the first less the others), from z = 0 to `height`.

    outlines: closed polygons (P, 2). step: edge length of the triangles.
    """
    rims = [_resampled(outline, step) for outline in outlines]
    low, high = rims[0].min(axis=0), rims[0].max(axis=0)
    xs, ys = (np.arange(low[k] + step / 2, high[k], step) for k in range(2))
    inner = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    rim = np.concatenate(rims)
    inner = inner[inside(inner, rims)]
    inner = inner[cKDTree(rim).query(inner)[0] > 0.6 * step]
    flat = np.concatenate([rim, inner])
    triangles = Delaunay(flat).simplices
    triangles = triangles[inside(flat[triangles].mean(axis=1), rims)]
    count = len(flat)
    bottom = np.column_stack([flat, np.zeros(count)])
    top = np.column_stack([flat, np.full(count, height)])
    sides, start = [], 0
    for outline in rims:
        ring = np.arange(len(outline)) + start
        after = np.roll(ring, -1)
        sides.append(np.stack([ring, after, after + count], axis=1))
        sides.append(np.stack([ring, after + count, ring + count], axis=1))
        start += len(outline)
    faces = np.concatenate([triangles[:, ::-1], triangles + count, *sides])
    return np.concatenate([bottom, top]), faces.astype(np.int32)


def _resampled(outline: Float64, step: float) -> Float64:
    """A closed polygon with points at most `step` apart, its own corners kept."""
    after = np.roll(outline, -1, axis=0)
    pieces = []
    for a, b in zip(outline, after, strict=True):
        count = max(1, int(np.ceil(np.linalg.norm(b - a) / step)))
        pieces.append(a + (b - a) * np.arange(count)[:, None] / count)
    return np.concatenate(pieces)


def inside(points: Float64, outlines: list[Float64]) -> Bool:
    """Which points an odd number of the closed outlines goes around; (N,)."""
    odd = np.zeros(len(points), dtype=bool)
    for outline in outlines:
        after = np.roll(outline, -1, axis=0)
        for (x0, y0), (x1, y1) in zip(outline, after, strict=True):
            if y0 != y1:
                crosses = (y0 > points[:, 1]) != (y1 > points[:, 1])
                odd ^= crosses & (points[:, 0] < (x1 - x0) * (points[:, 1] - y0) / (y1 - y0) + x0)
    return odd
