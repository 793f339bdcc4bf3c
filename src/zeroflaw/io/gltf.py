"""GLB and GLTF files: scenes of meshes, read with trimesh and sampled."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zeroflaw.io.sampling import Sampling, sample_mesh
from zeroflaw.io.source import EXPORT_AGAIN, bytes_left, opened, said_by
from zeroflaw.io.validate import checked_scan
from zeroflaw.types import Float64, Int64, Scan, ScanError


def read_gltf(path: Path, sampling: Sampling | None = None) -> Scan:
    """Points on the faces of all meshes; their vertices if they have none. Raises ScanError."""
    kind = path.suffix.lower().lstrip(".")
    with opened(path) as file:
        check_gltf(file, path)
        file.seek(0)
        vertices, faces = load(file, kind, path)
    if not len(faces):
        return checked_scan(vertices, source=path, notes=["no faces: the points are the vertices"])
    return sample_mesh(vertices, faces, sampling or Sampling(), path)


def load(file: BinaryIO, kind: str, path: Path) -> tuple[Float64, Int64]:
    """Vertices (V, 3) and triangles (F, 3) of all parts of a file. Raises ScanError."""
    import trimesh

    resolver = trimesh.resolvers.FilePathResolver(str(path.resolve()))
    try:
        scene = trimesh.load_scene(file, file_type=kind, process=False, resolver=resolver)
        parts: list[Any] = list(scene.dump())
        vertices = [np.asarray(part.vertices, dtype=np.float64).reshape(-1, 3) for part in parts]
        faces = [
            np.asarray(getattr(part, "faces", np.empty((0, 3))), dtype=np.int64).reshape(-1, 3)
            for part in parts
        ]
    except MemoryError:
        raise
    except Exception as error:  # of any kind, from a damaged file or one that it names
        problem = f"cannot be read as {kind.upper()} ({said_by(error)})"
        raise ScanError(path, problem, EXPORT_AGAIN) from None
    if not vertices:
        raise ScanError(path, "holds no points", "check what was exported")
    starts = np.cumsum([0, *(len(part) for part in vertices[:-1])])
    shifted = [part + start for part, start in zip(faces, starts.tolist(), strict=True)]
    return np.concatenate(vertices), np.concatenate(shifted)


def check_gltf(file: BinaryIO, path: Path) -> None:
    """Raise ScanError unless the file is as long as it says and holds what it promises."""
    raw = file.read()
    if path.suffix.lower() == ".glb":
        if raw[:4] != b"glTF" or len(raw) < 20:
            raise ScanError(path, "is no GLB file", EXPORT_AGAIN, "header")
        length, first = struct.unpack_from("<8xII", raw)
        if length != len(raw):
            raise ScanError(
                path,
                f"the header promises {length} bytes, the file has {len(raw)}",
                f"it is cut off or damaged: {EXPORT_AGAIN}",
                "header",
            )
        raw = raw[20 : 20 + first]
    try:
        tree = json.loads(raw)
        accessors = list(tree.get("accessors", []))
        empty = [one["count"] for one in accessors if "bufferView" not in one]
        promised = sum(int(count) for count in empty)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ScanError(
            path, f"its description cannot be read ({said_by(error)})", EXPORT_AGAIN
        ) from None
    if promised > bytes_left(file) + file.tell():
        raise ScanError(path, f"promises {promised} values that it does not hold", EXPORT_AGAIN)
