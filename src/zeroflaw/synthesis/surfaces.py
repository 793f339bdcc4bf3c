"""Points on the surface of a mesh, evenly by area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zeroflaw.synthesis.shapes import Shape, Triangles
from zeroflaw.types import Float32, Int64


@dataclass(frozen=True, eq=False)
class Samples:
    """Points on a surface. points, normals: (N, 3) float32; face: (N,) int64 into the triangles."""

    points: Float32
    normals: Float32
    face: Int64


def sample_triangles(triangles: Triangles, count: int, rng: np.random.Generator) -> Samples:
    """`count` points, stratified by area, in the order of the faces; diagonal of the part = 1."""
    total = triangles.cumulative[-1]
    ticks = (np.arange(count) + rng.random(count)) * (total / count)
    upto = np.searchsorted(ticks, triangles.cumulative)
    upto[-1] = count
    face = np.repeat(np.arange(len(upto)), np.diff(upto, prepend=0))
    first = rng.random(count, dtype=np.float32)
    second = rng.random(count, dtype=np.float32)
    outside = first + second > 1
    first = np.where(outside, 1 - first, first)
    second = np.where(outside, 1 - second, second)
    points = triangles.corner.take(face, axis=0)  # several times as fast as an index
    points += first[:, None] * triangles.edge1.take(face, axis=0)
    points += second[:, None] * triangles.edge2.take(face, axis=0)
    return Samples(points, triangles.normal.take(face, axis=0), face)


def sample_surface(shape: Shape, count: int, rng: np.random.Generator) -> Samples:
    """`count` points evenly over all faces of a shape, in the shape's own unit and frame."""
    triangles = shape.triangles
    samples = sample_triangles(triangles, count, rng)
    points = samples.points * triangles.diagonal + triangles.center
    return Samples(points.astype(np.float32), samples.normals, samples.face)


def sample_mesh(
    vertices: Float32, faces: NDArray[np.int32], count: int, rng: np.random.Generator
) -> tuple[Float32, Float32]:
    """Points (count, 3) and normals (count, 3) on a mesh, evenly by area."""
    samples = sample_surface(Shape(vertices, faces, "mesh", "mesh", "memory"), count, rng)
    return samples.points, samples.normals
