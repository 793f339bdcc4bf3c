"""Part geometries to synthesise scans from: meshes with a name, a category and a source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zeroflaw.types import Float32, Float64, Int64, ZeroflawError

Int32 = NDArray[np.int32]
Mesh = tuple[Float64, Int32]
"""Vertices (V, 3) and triangles (F, 3)."""

MESH_SUFFIXES = (".stl", ".obj", ".off", ".glb", ".gltf", ".ply", ".3mf")


class UnusableShape(ZeroflawError):  # noqa: N818
    """A mesh from which no scan can be made: no area, too flat, or nearly nothing to be seen."""


@dataclass(frozen=True, eq=False)
class Triangles:
    """A mesh made ready for sampling: centred, with a bounding-box diagonal of one.

    corner, edge1, edge2, normal: (F, 3) float32; cumulative: (F,) float64, summed areas; face:
    (F,) int64, which of the mesh's faces each one is.
    center, diagonal: how to get back to the shape's own unit.
    """

    corner: Float32
    edge1: Float32
    edge2: Float32
    normal: Float32
    cumulative: Float64
    face: Int64
    center: Float64
    diagonal: float

    @property
    def area(self) -> float:
        """Of all faces, hidden ones too, in squared diagonals."""
        return float(self.cumulative[-1]) if len(self.cumulative) else 0.0


@dataclass(frozen=True, eq=False)
class Shape:
    """One part. vertices: (V, 3) float32, any unit; faces: (F, 3) int32.

    Faces need be neither closed nor oriented. source: the collection it comes from. variants: each
    makes the mesh of the same part without one of its features, equal to this one elsewhere.
    """

    vertices: Float32
    faces: Int32
    name: str
    category: str
    source: str
    variants: tuple[Callable[[], Mesh], ...] = ()

    @property
    def key(self) -> str:
        """What held-out splits go by: source and category."""
        return f"{self.source}/{self.category}"

    @cached_property
    def triangles(self) -> Triangles:
        """The mesh without its degenerate faces. Raises UnusableShape if nothing is left."""
        return _triangles(self)


def _triangles(shape: Shape) -> Triangles:
    if len(shape.faces) == 0 or not np.isfinite(shape.vertices).all():
        raise UnusableShape(f"{shape.name}: the mesh has no faces or vertices that are not finite")
    vertices = shape.vertices[np.unique(shape.faces)].astype(np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    extent = high - low
    diagonal = float(np.linalg.norm(extent))
    if not diagonal > 0 or np.sort(extent)[1] < 0.01 * diagonal:
        raise UnusableShape(f"{shape.name}: the mesh is a point or a line")
    made = placed_triangles(shape.vertices, shape.faces, (low + high) / 2, diagonal)
    if len(made.face) == 0 or made.area < 0.01:
        raise UnusableShape(f"{shape.name}: the mesh has almost no surface")
    return made


def placed_triangles(
    vertices: Float32 | Float64, faces: Int32, center: Float64, diagonal: float
) -> Triangles:
    """The faces that have an area, moved and scaled to a part's centre and diagonal."""
    unit = (vertices - center) / diagonal
    corner, second, third = (unit[faces[:, axis]] for axis in range(3))
    edge1, edge2 = second - corner, third - corner
    normal = np.cross(edge1, edge2)
    double = np.linalg.norm(normal, axis=1)
    keep = np.flatnonzero(double > 1e-10)
    return Triangles(
        corner=corner[keep].astype(np.float32),
        edge1=edge1[keep].astype(np.float32),
        edge2=edge2[keep].astype(np.float32),
        normal=(normal[keep] / double[keep, None]).astype(np.float32),
        cumulative=np.cumsum(double[keep] / 2),
        face=keep,
        center=center,
        diagonal=diagonal,
    )


def load_corpus(folder: Path | str) -> list[Shape]:
    """Every shape of a folder of packed collections, in a fixed order.

    Each `.npz` holds `vertices`, `faces`, `vertex_start`, `face_start`, `name` and `category`;
    shapes are views into the collection's arrays. Raises ZeroflawError if there is none.
    """
    files = sorted(Path(folder).glob("*.npz"))
    if not files:
        raise ZeroflawError(f"{folder}: no .npz collections of shapes there; give their folder")
    return [shape for file in files for shape in _collection(file)]


def _collection(file: Path) -> list[Shape]:
    try:
        with np.load(file) as packed:
            vertices = packed["vertices"].astype(np.float32, copy=False)
            faces = packed["faces"].astype(np.int32, copy=False)
            vertex, face = packed["vertex_start"], packed["face_start"]
            names, categories = packed["name"], packed["category"]
    except Exception as error:  # a damaged archive can raise anything
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ZeroflawError(f"{file}: not a collection of shapes ({reason})") from error
    return [
        Shape(
            vertices[vertex[i] : vertex[i + 1]],
            faces[face[i] : face[i + 1]],
            str(names[i]),
            str(categories[i]),
            file.stem,
        )
        for i in range(len(names))
    ]


def load_mesh(path: Path | str) -> Shape:
    """A mesh file (STL, OBJ, OFF, GLB, PLY, 3MF) as a shape; its folder's name is the category."""
    import trimesh

    path = Path(path)
    if not path.is_file():
        raise ZeroflawError(f"{path}: no such file; give a mesh ({', '.join(MESH_SUFFIXES)})")
    try:
        mesh = trimesh.load_mesh(path, process=False)
        if hasattr(mesh, "to_mesh"):
            mesh = mesh.to_mesh()
        vertices = np.asarray(mesh.vertices, dtype=np.float32)
        faces = np.asarray(mesh.faces, dtype=np.int32)
    except Exception as error:  # trimesh raises whatever its parsers raise
        raise ZeroflawError(f"{path}: not a mesh that can be read ({error})") from error
    if len(faces) == 0:
        raise ZeroflawError(f"{path}: a point cloud, not a mesh; synthesis needs faces")
    return Shape(vertices, faces, path.stem, path.resolve().parent.name, "files")
