"""Scan files in every format that a reader knows, written without the package's own code."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tifffile
from numpy.typing import NDArray

Array = NDArray[np.float64]

CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)], dtype=np.float64)
"""The corners of a box of 1 × 2 × 3."""
TRIANGLES = np.array(
    [
        (0, 1, 3),
        (0, 3, 2),
        (4, 6, 7),
        (4, 7, 5),
        (0, 4, 5),
        (0, 5, 1),
        (2, 3, 7),
        (2, 7, 6),
        (0, 2, 6),
        (0, 6, 4),
        (1, 5, 7),
        (1, 7, 3),
    ]
)


def cloud(count: int = 60, seed: int = 0) -> Array:
    """Points on a bent surface, with coordinates that float32 and six decimals hold exactly."""
    flat = np.random.default_rng(seed).integers(-512, 512, size=(count, 2)) / 64
    return np.column_stack([flat, np.rint(flat[:, 0] * flat[:, 1]) / 64])


def text_rows(points: Array, delimiter: str = " ") -> str:
    """One row per point, with six decimals."""
    return "".join(delimiter.join(f"{value:.6f}" for value in row) + "\n" for row in points)


def pcd_header(
    count: int,
    encoding: str,
    fields: str = "x y z",
    size: str = "4 4 4",
    kind: str = "F F F",
    values: str | None = None,
    width: int | None = None,
    height: int = 1,
) -> bytes:
    lines = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        f"FIELDS {fields}",
        f"SIZE {size}",
        f"TYPE {kind}",
        f"COUNT {values or ' '.join('1' for _ in fields.split())}",
        f"WIDTH {count if width is None else width}",
        f"HEIGHT {height}",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {count}",
        f"DATA {encoding}",
    ]
    return "\n".join(lines).encode() + b"\n"


def pcd_ascii(points: Array) -> bytes:
    return pcd_header(len(points), "ascii") + text_rows(points).encode()


def pcd_binary(points: Array) -> bytes:
    return pcd_header(len(points), "binary") + points.astype("<f4").tobytes()


def pcd_compressed(points: Array) -> bytes:
    raw = points.T.astype("<f4").tobytes()
    packed = lzf_compress(raw)
    sizes = struct.pack("<II", len(packed), len(raw))
    return pcd_header(len(points), "binary_compressed") + sizes + packed


def lzf_compress(raw: bytes) -> bytes:
    """A plain greedy LZF compressor."""
    out = bytearray()
    literals = bytearray()
    seen: dict[bytes, int] = {}

    def flush() -> None:
        for start in range(0, len(literals), 32):
            part = literals[start : start + 32]
            out.append(len(part) - 1)
            out.extend(part)
        literals.clear()

    at = 0
    while at < len(raw):
        key = raw[at : at + 3]
        before = seen.get(key, -1)
        seen[key] = at
        if len(key) < 3 or before < 0 or at - before > 8192:
            literals.append(raw[at])
            at += 1
            continue
        length = 3
        while length < 264 and at + length < len(raw) and raw[before + length] == raw[at + length]:
            length += 1
        flush()
        back = at - before - 1
        if length - 2 < 7:
            out += bytes([(length - 2) << 5 | back >> 8, back & 255])
        else:
            out += bytes([7 << 5 | back >> 8, length - 9, back & 255])
        at += length
    flush()
    return bytes(out)


def ply_header(encoding: str, *elements: str) -> bytes:
    """A header; elements: "vertex 8", then its properties as "float x", then the next element."""
    lines = ["ply", f"format {encoding} 1.0", "comment made for a test"]
    for one in elements:
        first = one.split()[0]
        known = {"float", "double", "uchar", "int", "uint", "ushort", "short", "char", "list"}
        lines.append(f"property {one}" if first in known else f"element {one}")
    return "\n".join([*lines, "end_header"]).encode() + b"\n"


def ply_cloud(encoding: str) -> Callable[[Array], bytes]:
    def build(points: Array) -> bytes:
        head = ply_header(encoding, f"vertex {len(points)}", "float x", "float y", "float z")
        if encoding == "ascii":
            return head + text_rows(points).encode()
        order = "<" if "little" in encoding else ">"
        return head + points.astype(f"{order}f4").tobytes()

    return build


def ply_mesh(encoding: str) -> Callable[[Array], bytes]:
    def build(points: Array) -> bytes:
        del points
        vertices = [f"vertex {len(CORNERS)}", "float x", "float y", "float z"]
        faces = [f"face {len(TRIANGLES)}", "list uchar int vertex_indices"]
        head = ply_header(encoding, *vertices, *faces)
        if encoding == "ascii":
            rows = "".join(f"3 {a} {b} {c}\n" for a, b, c in TRIANGLES)
            return head + text_rows(CORNERS).encode() + rows.encode()
        order = "<" if "little" in encoding else ">"
        rows_ = np.empty(len(TRIANGLES), dtype=[("n", "u1"), ("corner", f"{order}i4", (3,))])
        rows_["n"], rows_["corner"] = 3, TRIANGLES
        return head + CORNERS.astype(f"{order}f4").tobytes() + rows_.tobytes()

    return build


def stl_binary(points: Array) -> bytes:
    del points
    rows = np.zeros(len(TRIANGLES), dtype=[("n", "<f4", (3,)), ("c", "<f4", (3, 3)), ("a", "<u2")])
    rows["c"] = CORNERS[TRIANGLES]
    return b"made for a test".ljust(80) + struct.pack("<I", len(rows)) + rows.tobytes()


def stl_ascii(points: Array) -> bytes:
    del points
    lines = ["solid box"]
    for triangle in CORNERS[TRIANGLES]:
        lines += ["facet normal 0 0 0", " outer loop"]
        lines += [f"  vertex {x:.6f} {y:.6f} {z:.6f}" for x, y, z in triangle]
        lines += [" endloop", "endfacet"]
    return "\n".join([*lines, "endsolid box"]).encode() + b"\n"


def obj(points: Array) -> bytes:
    del points
    vertices = "".join(f"v {x:.6f} {y:.6f} {z:.6f}\n" for x, y, z in CORNERS)
    faces = "".join(f"f {a}/1 {b}//2 {c}\n" for a, b, c in TRIANGLES + 1)
    return b"# a box\no box\n" + (vertices + faces).encode()


def off(points: Array) -> bytes:
    del points
    faces = "".join(f"3 {a} {b} {c}\n" for a, b, c in TRIANGLES)
    return f"OFF\n{len(CORNERS)} {len(TRIANGLES)} 0\n{text_rows(CORNERS)}{faces}".encode()


def glb(points: Array) -> bytes:
    del points
    data = CORNERS.astype("<f4").tobytes() + TRIANGLES.astype("<u4").tobytes()
    split = CORNERS.size * 4
    tree = gltf_tree({"byteLength": len(data)}, split, len(data) - split)
    text = json.dumps(tree).encode()
    text = text.ljust(-(-len(text) // 4) * 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def gltf_tree(buffer: dict[str, object], split: int, rest: int) -> dict[str, object]:
    """The description of a box whose vertices and triangles lie one after the other."""
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [buffer],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": split},
            {"buffer": 0, "byteOffset": split, "byteLength": rest},
        ],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": 5126,
                "count": len(CORNERS),
                "type": "VEC3",
                "min": [0, 0, 0],
                "max": [1, 2, 3],
            },
            {
                "bufferView": 1,
                "componentType": 5125,
                "count": TRIANGLES.size,
                "type": "SCALAR",
            },
        ],
    }


def gltf(points: Array) -> bytes:
    del points
    import base64

    data = CORNERS.astype("<f4").tobytes() + TRIANGLES.astype("<u4").tobytes()
    split = CORNERS.size * 4
    uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    tree = gltf_tree({"byteLength": len(data), "uri": uri}, split, len(data) - split)
    return json.dumps(tree).encode()


def npy(points: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, points)
    return file.getvalue()


def npz(points: Array) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, points=points)
    return file.getvalue()


def tiff(points: Array) -> bytes:
    file = io.BytesIO()
    grid = points.astype(np.float32).reshape(5, -1, 3)
    tifffile.imwrite(file, grid, photometric="minisblack", planarconfig="contig")
    return file.getvalue()


@dataclass(frozen=True)
class Sample:
    """A file of a format. build: its bytes from points; counts: whether it says how many it has.

    mesh: whether it holds the box instead of the points.
    """

    suffix: str
    build: Callable[[Array], bytes]
    counts: bool = True
    mesh: bool = False


SAMPLES: Mapping[str, Sample] = {
    "pcd ascii": Sample(".pcd", pcd_ascii),
    "pcd binary": Sample(".pcd", pcd_binary),
    "pcd compressed": Sample(".pcd", pcd_compressed),
    "ply ascii": Sample(".ply", ply_cloud("ascii")),
    "ply little": Sample(".ply", ply_cloud("binary_little_endian")),
    "ply big": Sample(".ply", ply_cloud("binary_big_endian")),
    "ply mesh ascii": Sample(".ply", ply_mesh("ascii"), mesh=True),
    "ply mesh little": Sample(".ply", ply_mesh("binary_little_endian"), mesh=True),
    "ply mesh big": Sample(".ply", ply_mesh("binary_big_endian"), mesh=True),
    "stl binary": Sample(".stl", stl_binary, mesh=True),
    "stl ascii": Sample(".stl", stl_ascii, mesh=True),
    "obj": Sample(".obj", obj, counts=False, mesh=True),
    "off": Sample(".off", off, mesh=True),
    "glb": Sample(".glb", glb, mesh=True),
    "gltf": Sample(".gltf", gltf, mesh=True),
    "xyz": Sample(".xyz", lambda p: text_rows(p).encode(), counts=False),
    "txt": Sample(".txt", lambda p: text_rows(p, "\t").encode(), counts=False),
    "asc": Sample(".asc", lambda p: text_rows(p, ";").encode(), counts=False),
    "csv": Sample(".csv", lambda p: b"x,y,z\n" + text_rows(p, ",").encode(), counts=False),
    "npy": Sample(".npy", npy),
    "npz": Sample(".npz", npz),
    "tif": Sample(".tif", tiff),
    "tiff": Sample(".tiff", tiff),
}
