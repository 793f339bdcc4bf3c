"""One small file in every readable format, as bytes, made without the package's own writers."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
import trimesh
from numpy.typing import NDArray

POINTS: NDArray[np.float64] = np.random.default_rng(7).uniform(-40, 40, size=(240, 3)).round(3)
GRID = (12, 20)


def rows(points: NDArray[np.float64], separator: str) -> str:
    """One line per point."""
    return "".join(separator.join(f"{value:.9g}" for value in point) + "\n" for point in points)


def pcd(points: NDArray[np.float64], kind: str) -> bytes:
    """A PCD file of 64-bit coordinates; kind: "ascii" or "binary"."""
    count = len(points)
    head = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 8 8 8\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA {kind}\n"
    )
    return head.encode() + _body(points, kind)


def ply(points: NDArray[np.float64], kind: str) -> bytes:
    """A PLY file of 64-bit coordinates; kind: "ascii" or "binary_little_endian"."""
    axes = "".join(f"property double {axis}\n" for axis in "xyz")
    head = f"ply\nformat {kind} 1.0\nelement vertex {len(points)}\n{axes}end_header\n"
    return head.encode() + _body(points, kind)


def _body(points: NDArray[np.float64], kind: str) -> bytes:
    return rows(points, " ").encode() if kind == "ascii" else points.astype("<f8").tobytes()


def mesh(kind: str) -> bytes:
    """A ball of radius 20 as a mesh."""
    ball = trimesh.creation.icosphere(subdivisions=2, radius=20)
    if kind == "gltf":
        export: Any = trimesh.exchange.gltf.export_gltf
        files = export(trimesh.Scene(ball), embed_buffers=True)
        return bytes(files["model.gltf"])
    content = ball.export(file_type=kind)
    return content.encode() if isinstance(content, str) else bytes(content)


def npy(points: NDArray[np.float64]) -> bytes:
    """A NumPy array file."""
    file = io.BytesIO()
    np.save(file, points)
    return file.getvalue()


def npz(points: NDArray[np.float64]) -> bytes:
    """A NumPy archive with the array `points`."""
    file = io.BytesIO()
    np.savez(file, points=points)
    return file.getvalue()


def tiff(points: NDArray[np.float64]) -> bytes:
    """An organised scan as a float32 picture of three channels."""
    file = io.BytesIO()
    tifffile.imwrite(file, points.astype(np.float32).reshape(*GRID, 3), photometric="rgb")
    return file.getvalue()


# By name: how the points are written in every format that holds points rather than triangles.
POINT_FORMATS: dict[str, Callable[[NDArray[np.float64]], bytes]] = {
    "ascii.pcd": lambda points: pcd(points, "ascii"),
    "binary.pcd": lambda points: pcd(points, "binary"),
    "ascii.ply": lambda points: ply(points, "ascii"),
    "binary.ply": lambda points: ply(points, "binary_little_endian"),
    "text.xyz": lambda points: rows(points, " ").encode(),
    "text.txt": lambda points: rows(points, "\t").encode(),
    "text.csv": lambda points: ("x,y,z\n" + rows(points, ",")).encode(),
    "text.asc": lambda points: rows(points, " ").encode(),
    "array.npy": npy,
    "array.npz": npz,
    "organised.tif": tiff,
    "organised.tiff": tiff,
}
MESH_FORMATS = ("stl", "obj", "off", "glb", "gltf")
# Files whose header says how long they are: any cut can be noticed.
SIZED = ("binary.pcd", "binary.ply", "array.npy", "array.npz", "ball.stl", "ball.glb")


def stl_that_promises(triangles: int) -> bytes:
    """A binary STL whose header promises more triangles than it has."""
    return bytes(80) + struct.pack("<I", triangles) + bytes(50)
