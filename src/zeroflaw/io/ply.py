"""PLY files, ascii and binary, of points and of meshes.

Format: G. Turk, The PLY polygon file format, 1994.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from zeroflaw.io.columns import ScanColumns
from zeroflaw.io.lines import Lines
from zeroflaw.io.ply_header import Element, Header, read_header
from zeroflaw.io.ply_lists import Ragged, read_binary_lists, read_text_lists, triangles
from zeroflaw.io.rows import (
    check_binary_end,
    check_promise,
    check_text_end,
    read_binary_rows,
    read_text_rows,
)
from zeroflaw.io.sampling import Sampling, sample_mesh
from zeroflaw.io.source import opened
from zeroflaw.types import Scan, ScanError

CORNERS = ("vertex_indices", "vertex_index")


def read_ply(path: Path, sampling: Sampling | None = None) -> Scan:
    """The points in a PLY file, or points on its faces if it has any. Raises ScanError."""
    with opened(path) as file:
        lines = Lines(file, path)
        header = read_header(lines)
        vertex = header.vertex
        if not vertex.count:
            raise ScanError(path, "holds no points", "check what was exported", "header")
        ScanColumns(vertex.scalars, 0, path)  # refuses a file without x, y and z
        check_promise(lines.bytes_left(), header.least_bytes, header.promised, path)
        columns = ScanColumns(vertex.scalars, vertex.count, path)
        if header.encoding == "ascii":
            faces = read_text_body(lines, header, columns)
        else:
            faces = read_binary_body(lines.leave(), header, columns, path)
        notes = header.notes
        if faces is None or not len(faces.lengths):
            return columns.scan(notes=notes)
        vertices = columns.vertices(notes)
        return sample_mesh(
            vertices.points,
            triangles(faces),
            sampling or Sampling(),
            path,
            colors=vertices.colors,
            labels=vertices.labels,
            notes=vertices.notes,
        )


def corner_list(element: Element) -> str | None:
    """The name of the list with the corners of a face."""
    if element.name != "face":
        return None
    lists = {one.name for one in element.properties if one.length is not None}
    return next((name for name in CORNERS if name in lists), None)


def read_text_body(lines: Lines, header: Header, columns: ScanColumns) -> Ragged | None:
    """Read all elements; vertices into columns. Returns the faces, if there are any."""
    faces = None
    for element in header.elements:
        if element.name == "vertex" and not element.has_lists:
            read_text_rows(lines, element.fields, element.count, columns)
        elif element.properties:
            into = columns if element.name == "vertex" else None
            ragged = read_text_lists(lines, element, corner_list(element), into)
            faces = ragged or faces
    check_text_end(lines, header.promised)
    return faces


def read_binary_body(
    file: BinaryIO, header: Header, columns: ScanColumns, path: Path
) -> Ragged | None:
    """Read all elements; vertices into columns. Returns the faces, if there are any."""
    faces = None
    for element in header.elements:
        if element.name == "vertex" and not element.has_lists:
            read_binary_rows(file, element.fields, element.count, columns, path)
        elif element.has_lists:
            into = columns if element.name == "vertex" else None
            ragged = read_binary_lists(file, element, corner_list(element), into, path)
            faces = ragged or faces
        else:
            file.seek(element.least_bytes(binary=True), 1)
    check_binary_end(file, path, header.promised)
    return faces
