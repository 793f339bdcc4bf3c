"""PCD files of the Point Cloud Library: ascii, binary and binary_compressed.

Format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zeroflaw.io.columns import ScanColumns
from zeroflaw.io.lines import Lines
from zeroflaw.io.lzf import BEST_RATIO, LZFError, decompress
from zeroflaw.io.rows import (
    MOST_ROW_BYTES,
    Fields,
    check_binary_end,
    check_promise,
    check_text_end,
    read_binary_rows,
    read_text_rows,
    row_bytes,
    scalar_names,
)
from zeroflaw.io.sampling import Sampling
from zeroflaw.io.source import EXPORT_AGAIN, bytes_left, fill, opened
from zeroflaw.types import Scan, ScanError

ENTRIES = (
    "VERSION",
    "FIELDS",
    "SIZE",
    "TYPE",
    "COUNT",
    "WIDTH",
    "HEIGHT",
    "VIEWPOINT",
    "POINTS",
    "DATA",
)
SIZES = {"I": (1, 2, 4, 8), "U": (1, 2, 4, 8), "F": (4, 8)}
ENCODINGS = ("ascii", "binary", "binary_compressed")


@dataclass(frozen=True)
class Header:
    """What a PCD file says of its data. viewpoint: translation and quaternion, not applied."""

    fields: Fields
    width: int
    height: int
    viewpoint: tuple[float, ...]
    encoding: str

    @property
    def count(self) -> int:
        """How many points."""
        return self.width * self.height

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of an organised scan."""
        return (self.height, self.width) if self.height > 1 else None


def read_pcd(path: Path, sampling: Sampling | None = None) -> Scan:
    """The scan in a PCD file, organised if its height is more than 1. Raises ScanError."""
    del sampling  # of meshes only
    with opened(path) as file:
        lines = Lines(file, path)
        header = read_header(lines)
        names = scalar_names(header.fields)
        ScanColumns(names, 0, path)  # refuses a file without x, y and z before its sizes matter
        check_sizes(header, lines)
        columns = ScanColumns(names, header.count, path)
        if header.encoding == "ascii":
            read_text_rows(lines, header.fields, header.count, columns)
            check_text_end(lines, f"{header.count} points")
        elif header.encoding == "binary":
            read_binary_rows(lines.leave(), header.fields, header.count, columns, path)
            check_binary_end(file, path, f"{header.count} points")
        else:
            columns.put(0, read_compressed(lines.leave(), header, path))
        return columns.scan(grid=header.grid)


def check_sizes(header: Header, lines: Lines) -> None:
    """Raise ScanError if the file cannot hold what its header promises."""
    if not header.count:
        raise ScanError(lines.path, "holds no points", "check what was exported", "header")
    width = row_bytes(header.fields)
    if width > MOST_ROW_BYTES:
        raise lines.error(
            f"{width} bytes per point", f"expected at most {MOST_ROW_BYTES}: the header is wrong"
        )
    values = sum(count for _, _, count in header.fields)
    least = {
        "ascii": 2 * values * header.count - 1,
        "binary": width * header.count,
        "binary_compressed": 8 + int(width * header.count // BEST_RATIO),
    }[header.encoding]
    check_promise(lines.bytes_left(), least, f"{header.count} points", lines.path)


def read_compressed(file: BinaryIO, header: Header, path: Path) -> dict[str, NDArray[Any]]:
    """The fields of a compressed file, which stand one after the other. Raises ScanError."""
    sizes = np.empty(2, dtype="<u4")
    fill(file, sizes, path)
    packed, size = int(sizes[0]), int(sizes[1])
    place = f"byte {file.tell()}"
    expected = row_bytes(header.fields) * header.count
    if size != expected:
        raise ScanError(
            path,
            f"the compressed data stands for {size} bytes, but the header for {expected}",
            f"the file is damaged: {EXPORT_AGAIN}",
            place,
        )
    check_promise(bytes_left(file), packed, "compressed data", path, place=place)
    try:
        raw = np.frombuffer(decompress(file.read(packed), size), dtype=np.uint8)
    except LZFError as error:
        problem = f"the compressed data is damaged ({error})"
        raise ScanError(path, problem, EXPORT_AGAIN, place) from None
    columns: dict[str, NDArray[Any]] = {}
    start = 0
    for name, dtype, count in header.fields:
        end = start + header.count * dtype.itemsize * count
        if count == 1:
            columns.setdefault(name, raw[start:end].view(dtype))
        start = end
    return columns


def read_header(lines: Lines) -> Header:
    """The header, up to and with its DATA line. Raises ScanError."""
    entries: dict[str, list[str]] = {}
    while "DATA" not in entries:
        line = lines.next_line()
        if line is None:
            raise lines.error(
                "the file ends before the header does", f"expected a DATA line: {EXPORT_AGAIN}"
            )
        words = line.partition(b"#")[0].decode("latin-1").split()
        if not words:
            continue
        key = "FIELDS" if words[0] == "COLUMNS" else words[0]
        if key not in ENTRIES or key in entries:
            problem = "appears twice" if key in entries else "is no entry of a PCD header"
            raise lines.error(
                f"{key[:40]!r} {problem}", "expected a PCD file", line=lines.number - 1
            )
        entries[key] = words[1:]
    return parse_header(entries, lines)


def parse_header(entries: dict[str, list[str]], lines: Lines) -> Header:
    """The header from the words of its lines. Raises ScanError."""
    path = lines.path

    def whole(key: str, default: int) -> int:
        words = entries.get(key, [str(default)])
        if len(words) != 1 or not words[0].isdecimal() or len(words[0]) > 18:
            raise wrong(path, key, " ".join(words), "one whole number")
        return int(words[0])

    for key in ("FIELDS", "SIZE", "TYPE"):
        if key not in entries:
            raise wrong(path, key, "missing", "one entry per field")
    points = whole("POINTS", -1) if "POINTS" in entries else None
    if points is None and "WIDTH" not in entries:
        raise wrong(path, "POINTS", "missing", "the number of points")
    height = whole("HEIGHT", 1)
    width = whole("WIDTH", points or 0)
    if points is not None and points != width * height:
        raise wrong(path, "POINTS", str(points), f"WIDTH times HEIGHT, {width * height}")
    encoding = " ".join(entries["DATA"])
    if encoding not in ENCODINGS:
        raise wrong(path, "DATA", encoding, f"one of {', '.join(ENCODINGS)}")
    viewpoint = entries.get("VIEWPOINT", ["0", "0", "0", "1", "0", "0", "0"])
    try:
        view = tuple(float(word) for word in viewpoint)
    except ValueError:
        view = ()
    if len(view) != 7:
        raise wrong(path, "VIEWPOINT", " ".join(viewpoint), "seven numbers")
    return Header(parse_fields(entries, path), width, height, view, encoding)


def parse_fields(entries: dict[str, list[str]], path: Path) -> Fields:
    """The fields of a point. Raises ScanError."""
    names = entries["FIELDS"]
    columns = [entries[key] for key in ("SIZE", "TYPE")]
    columns.append(entries.get("COUNT", ["1"] * len(names)))
    for key, words in zip(("SIZE", "TYPE", "COUNT"), columns, strict=True):
        if len(words) != len(names):
            raise wrong(path, key, f"{len(words)} entries", f"{len(names)}, one per field")
    fields = []
    for name, size, kind, count in zip(names, *columns, strict=True):
        if kind not in SIZES or size not in map(str, SIZES[kind]):
            raise wrong(path, "TYPE", f"{kind} of {size} bytes", "I, U or F of 1, 2, 4 or 8")
        if not count.isdecimal() or len(count) > 9 or not int(count):
            raise wrong(path, "COUNT", count, "whole numbers from 1")
        fields.append((name, np.dtype(f"<{kind.lower()}{size}"), int(count)))
    return tuple(fields)


def wrong(path: Path, key: str, found: str, expected: str) -> ScanError:
    """The error of a header entry."""
    return ScanError(path, f"{key} is {found[:60]}", f"expected {expected}", "header")
