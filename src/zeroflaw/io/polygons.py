"""OFF and OBJ files: meshes as text, read line by line so that damage is found where it is."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from zeroflaw.io.lines import Lines
from zeroflaw.io.ply_lists import Ragged, gather, triangles
from zeroflaw.io.rows import check_promise, check_text_end, end_notes, missing_rows
from zeroflaw.io.sampling import Sampling, sample_mesh
from zeroflaw.io.source import EXPORT_AGAIN, opened
from zeroflaw.io.validate import checked_scan
from zeroflaw.types import Float64, Scan

NO_FACES = "no faces: the points are the vertices"


def read_off(path: Path, sampling: Sampling | None = None) -> Scan:
    """Points on the faces of an OFF file; its vertices if it has none. Raises ScanError."""
    with opened(path) as file:
        lines = Lines(file, path)
        vertex_count, face_count = off_counts(lines)
        least = max(0, 6 * vertex_count + 2 * face_count - 1)
        promise = f"{vertex_count} vertices and {face_count} faces"
        check_promise(lines.bytes_left(), least, promise, path)
        vertices = off_vertices(lines, vertex_count)
        faces = off_faces(lines, face_count)
        check_text_end(lines, promise)
        return scan_of(vertices, faces, sampling, path, [])


def scan_of(
    vertices: Float64, faces: Ragged, sampling: Sampling | None, path: Path, notes: list[str]
) -> Scan:
    """Points on the faces, or the vertices if there are no faces. Raises ScanError."""
    if not len(faces.lengths):
        return checked_scan(vertices, source=path, notes=[NO_FACES, *notes])
    return sample_mesh(vertices, triangles(faces), sampling or Sampling(), path, notes=notes)


def off_counts(lines: Lines) -> tuple[int, int]:
    """The numbers of vertices and faces, after the word OFF. Raises ScanError."""
    words: list[str] = []
    keyword = ""
    while not words:
        line = lines.next_line()
        if line is None:
            raise lines.error("the file ends before its counts", EXPORT_AGAIN)
        words = line.partition(b"#")[0].decode("latin-1").split()
        if words and not keyword:
            keyword = words.pop(0)
            if keyword not in ("OFF", "COFF", "NOFF", "CNOFF"):
                raise lines.error(f"begins with {keyword[:20]!r}", "expected an OFF file", line=1)
    if len(words) not in (2, 3) or not all(w.isdecimal() and len(w) < 16 for w in words):
        found = " ".join(words)[:40]
        raise lines.error(
            f"its counts are {found!r}",
            "expected the numbers of vertices, faces and edges",
            line=lines.number - 1,
        )
    return int(words[0]), int(words[1])


def off_vertices(lines: Lines, count: int) -> Float64:
    """The vertices (V, 3); what follows their coordinates is left out. Raises ScanError."""
    vertices: Float64 = np.empty((count, 3))
    done = 0
    for numbers in lines.numbers(count):
        short = numbers.lengths < 3
        if short.any():
            row = int(np.argmax(short))
            raise lines.error(
                f"{numbers.lengths[row]} numbers for a vertex",
                f"expected x, y and z: {EXPORT_AGAIN}",
                line=lines.first + int(numbers.lines[row]),
            )
        starts = np.cumsum(numbers.lengths) - numbers.lengths
        vertices[done : done + len(starts)] = numbers.values[starts[:, None] + np.arange(3)]
        done += len(starts)
    if done < count:
        raise missing_rows(lines, done, count)
    return vertices


def off_faces(lines: Lines, count: int) -> Ragged:
    """The corners of the faces; colours behind them are left out. Raises ScanError."""
    lengths, values, done = [np.empty(0, dtype=np.int64)], [np.empty(0)], 0
    for numbers in lines.numbers(count):
        starts = np.cumsum(numbers.lengths) - numbers.lengths
        length = numbers.values[starts]
        wrong = ~((length >= 1) & (length < numbers.lengths))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise lines.error(
                f"a face of {length[row]:g} corners with {numbers.lengths[row] - 1} numbers",
                f"the file is damaged: {EXPORT_AGAIN}",
                line=lines.first + int(numbers.lines[row]),
            )
        lengths.append(length.astype(np.int64))
        values.append(gather(numbers.values, starts + 1, lengths[-1]))
        done += len(starts)
    if done < count:
        raise missing_rows(lines, done, count)
    return Ragged(np.concatenate(lengths), np.concatenate(values))


def read_obj(path: Path, sampling: Sampling | None = None) -> Scan:
    """Points on the faces of an OBJ file; its vertices if it has none. Raises ScanError."""
    vertices, corners, lengths = array("d"), array("q"), array("q")
    with opened(path) as file:
        lines = Lines(file, path)
        ended = True
        while (line := lines.next_line()) is not None:
            ended = line.endswith(b"\n")
            words = line.split()
            if not words:
                continue
            try:
                if words[0] == b"v":
                    x, y, z = words[1:4]
                    vertices.extend((float(x), float(y), float(z)))
                elif words[0] == b"f":
                    lengths.append(len(words) - 1)
                    corners.extend(obj_corners(words[1:], len(vertices) // 3))
                elif b"\0" in line:
                    raise ValueError
            except (ValueError, OverflowError):
                found = line.strip()[:40].decode("latin-1")
                raise lines.error(
                    f"cannot read {found!r}", EXPORT_AGAIN, line=lines.number - 1
                ) from None
        lines.open_end = not ended
    points = np.array(vertices, dtype=np.float64).reshape(-1, 3)
    faces = Ragged(np.array(lengths, dtype=np.int64), np.array(corners, dtype=np.int64))
    return scan_of(points, faces, sampling, path, end_notes(lines))


def obj_corners(words: list[bytes], count: int) -> list[int]:
    """Indices from 0 of a face's corners; negative ones count back. Raises ValueError."""
    corners = [int(word.partition(b"/")[0]) for word in words]
    if len(corners) < 3 or 0 in corners:
        raise ValueError
    return [corner - 1 if corner > 0 else count + corner for corner in corners]
