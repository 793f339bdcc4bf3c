"""Elements of a PLY file whose rows hold lists, above all the corners of faces."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zeroflaw.io.columns import ScanColumns
from zeroflaw.io.lines import Lines
from zeroflaw.io.numerals import Numbers
from zeroflaw.io.ply_header import Element
from zeroflaw.io.rows import as_declared, missing_rows
from zeroflaw.io.source import EXPORT_AGAIN
from zeroflaw.types import Int64, ScanError


@dataclass(frozen=True, eq=False)
class Ragged:
    """Lists one after the other. lengths: (R,); values: as many as all lengths together."""

    lengths: Int64
    values: NDArray[Any]


def triangles(faces: Ragged) -> Int64:
    """Triangles (F, 3) of polygons, each cut into a fan; faces of two corners are left out."""
    starts = np.cumsum(faces.lengths) - faces.lengths
    parts = [np.empty((0, 3), dtype=np.int64)]
    for length in np.unique(faces.lengths[faces.lengths >= 3]).tolist():
        first = starts[faces.lengths == length]
        polygons = faces.values[first[:, None] + np.arange(length)].astype(np.int64)
        fan = np.empty((len(polygons), length - 2, 3), dtype=np.int64)
        fan[:, :, 0] = polygons[:, :1]
        fan[:, :, 1] = polygons[:, 1:-1]
        fan[:, :, 2] = polygons[:, 2:]
        parts.append(fan.reshape(-1, 3))
    return np.concatenate(parts)


def gather(values: NDArray[Any], starts: Int64, lengths: Int64) -> NDArray[Any]:
    """The values of all lists, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    chosen: NDArray[Any] = values[np.arange(total) + np.repeat(starts - (ends - lengths), lengths)]
    return chosen


def read_text_lists(
    lines: Lines, element: Element, wanted: str | None, columns: ScanColumns | None
) -> Ragged | None:
    """Read an element's rows; scalars into `columns`, if given. Returns the `wanted` lists.

    Raises ScanError.
    """
    lengths: list[Int64] = []
    values: list[NDArray[Any]] = []
    done = 0
    for numbers in lines.numbers(element.count):
        places = lay_out(numbers, element, lines)
        if columns is not None:
            columns.put(
                done,
                {
                    one.name: as_declared(numbers.values[places[one.name]], one.dtype)
                    for one in element.properties
                    if one.length is None
                },
            )
        if wanted:
            start = places[wanted]
            length = numbers.values[start].astype(np.int64)
            lengths.append(length)
            values.append(gather(numbers.values, start + 1, length))
        done += len(numbers.lengths)
    if done < element.count:
        raise missing_rows(lines, done, element.count)
    return Ragged(np.concatenate(lengths), np.concatenate(values)) if lengths else None


def lay_out(numbers: Numbers, element: Element, lines: Lines) -> dict[str, Int64]:
    """Where each property of each row starts, (R,) by name. Raises ScanError."""
    ends = np.cumsum(numbers.lengths)
    place = ends - numbers.lengths
    places = {}
    for one in element.properties:
        wrong = place >= ends
        places[one.name] = np.where(wrong, 0, place)
        place = place + 1
        if one.length is not None:
            length = numbers.values[places[one.name]]
            wrong |= ~((length >= 0) & (length <= len(numbers.values)))
            place = place + np.where(wrong, 0, length).astype(np.int64)
            wrong |= length != np.rint(length)
        if wrong.any():
            raise wrong_row(numbers, int(np.argmax(wrong)), lines)
    wrong = place != ends
    if wrong.any():
        raise wrong_row(numbers, int(np.argmax(wrong)), lines)
    return places


def wrong_row(numbers: Numbers, row: int, lines: Lines) -> ScanError:
    """The error of a row that its lists do not fit in."""
    return lines.error(
        f"{numbers.lengths[row]} numbers in a row that do not fit its lists",
        f"the file is damaged: {EXPORT_AGAIN}",
        line=lines.first + int(numbers.lines[row]),
    )


def read_binary_lists(
    file: BinaryIO,
    element: Element,
    wanted: str | None,
    columns: ScanColumns | None,
    path: Path,
) -> Ragged | None:
    """Read an element's rows; scalars into `columns`, if given. Returns the `wanted` lists.

    Raises ScanError.
    """
    if not element.count:
        return None
    begin = file.tell()
    data = file.read()
    rows = even_rows(data, element)
    if rows is None:
        places, end = walk(data, element, path, begin)
        scalars = {
            one.name: at_places(data, places[:, i], one.dtype)
            for i, one in enumerate(element.properties)
            if one.length is None and columns is not None
        }
        lists = None
        for i, one in enumerate(element.properties):
            if one.length is not None and one.name == wanted:
                length = at_places(data, places[:, i], one.length).astype(np.int64)
                starts = np.repeat(places[:, i] + one.length.itemsize, length)
                starts += within(length) * one.dtype.itemsize
                lists = Ragged(length, at_places(data, starts, one.dtype))
    else:
        end = rows.nbytes
        scalars = {one.name: rows[one.name] for one in element.properties if one.length is None}
        lists = None
        if wanted:
            values = rows[wanted]
            lists = Ragged(np.full(len(rows), values.shape[1]), values.reshape(-1))
    if columns is not None:
        columns.put(0, scalars)
    file.seek(begin + end)
    return lists


def within(lengths: Int64) -> Int64:
    """0, 1, … of each list, one list after the other."""
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def at_places(data: bytes, places: Int64, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values of a type at these bytes, in any alignment."""
    raw = np.frombuffer(data, dtype=np.uint8)
    values: NDArray[Any] = raw[places[:, None] + np.arange(dtype.itemsize)].view(dtype)[:, 0]
    return values


def even_rows(data: bytes, element: Element) -> NDArray[np.void] | None:
    """All rows as one structured array if every list is as long as in the first row, else None."""
    parts: list[tuple[str, Any] | tuple[str, Any, tuple[int, ...]]] = []
    at = 0
    for i, one in enumerate(element.properties):
        if one.length is None:
            parts.append((one.name, one.dtype))
            at += one.dtype.itemsize
            continue
        if at + one.length.itemsize > len(data):
            return None
        length = int(np.frombuffer(data, one.length, 1, at)[0])
        at += one.length.itemsize + length * one.dtype.itemsize
        if length < 0 or at * element.count > len(data):
            return None
        parts += [(f" {i}", one.length), (one.name, one.dtype, (length,))]
    if at * element.count > len(data) or len({part[0] for part in parts}) != len(parts):
        return None
    rows: NDArray[np.void] = np.frombuffer(data, np.dtype(parts), element.count)
    for i, one in enumerate(element.properties):
        if one.length is not None and (rows[f" {i}"] != rows[one.name].shape[1]).any():
            return None
    return rows


def walk(data: bytes, element: Element, path: Path, begin: int) -> tuple[Int64, int]:
    """Where each property of each row starts (R, P), and where the last row ends, row by row."""
    steps = [
        (struct.Struct(element.order + one.length.char), one.length.itemsize, one.dtype.itemsize)
        if one.length is not None
        else (None, 0, one.dtype.itemsize)
        for one in element.properties
    ]
    places: list[int] = []
    at = 0
    for row in range(element.count):
        for length_type, length_bytes, value_bytes in steps:
            places.append(at)
            if length_type is None:
                at += value_bytes
                continue
            length = -1
            if at + length_bytes <= len(data):
                (length,) = length_type.unpack_from(data, at)
            at += length_bytes + length * value_bytes
            if length < 0 or at > len(data):
                raise cut_off(path, element, row, begin + places[-1])
        if at > len(data):
            raise cut_off(path, element, row, begin + places[-1])
    shape = (element.count, len(steps))
    return np.array(places, dtype=np.int64).reshape(shape), at


def cut_off(path: Path, element: Element, row: int, byte: int) -> ScanError:
    """The error of a row that the file does not hold."""
    return ScanError(
        path,
        f"{element.name} row {row + 1} of {element.count} is cut off or damaged",
        EXPORT_AGAIN,
        f"byte {byte}",
    )
