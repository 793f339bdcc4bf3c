"""Rows of a file into a scan's columns, a block at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zeroflaw.io.columns import ScanColumns
from zeroflaw.io.lines import Lines
from zeroflaw.io.source import EXPORT_AGAIN, bytes_left, fill
from zeroflaw.types import Float64, ScanError

BLOCK_BYTES = 1 << 19  # stays in the processor's cache between reading and converting
MOST_ROW_BYTES = 1 << 20

Fields = Sequence[tuple[str, "np.dtype[Any]", int]]
"""Name, type of one value and number of values of each field of a row, in the file's order."""


def scalar_names(fields: Fields) -> list[str]:
    """The names of the fields of one value."""
    return [name for name, _, count in fields if count == 1]


def row_bytes(fields: Fields) -> int:
    """How long a row is in a binary file."""
    return sum(dtype.itemsize * count for _, dtype, count in fields)


def row_type(fields: Fields) -> np.dtype[Any]:
    """A binary row; what repeats a name, or has several values, gets a name that no file gives."""
    taken: set[str] = set()
    parts: list[tuple[str, Any, tuple[int, ...]]] = []
    for place, (name, dtype, count) in enumerate(fields):
        own = count == 1 and name not in taken
        taken.add(name)
        parts.append((name if own else f" {place}", dtype, () if count == 1 else (count,)))
    return np.dtype(parts)


def check_promise(left: int, least: int, what: str, path: Path, *, place: str = "header") -> None:
    """Raise ScanError if what the header promises, `least` bytes, is more than is `left`."""
    if least > left:
        raise ScanError(
            path,
            f"the header promises {what}, at least {least} bytes, but only {left} follow",
            f"the file is cut off or its header is wrong: {EXPORT_AGAIN}",
            place=place,
        )


def read_binary_rows(
    file: BinaryIO, fields: Fields, count: int, columns: ScanColumns, path: Path
) -> None:
    """Read `count` binary rows into columns. Raises ScanError."""
    dtype = row_type(fields)
    step = max(1, BLOCK_BYTES // dtype.itemsize)
    block = np.empty(min(count, step), dtype=dtype)
    for start in range(0, count, step):
        part = block[: min(step, count - start)]
        fill(file, part, path)
        columns.put(start, part)


def read_text_rows(lines: Lines, fields: Fields, count: int, columns: ScanColumns) -> None:
    """Read `count` rows of numbers into columns. Raises ScanError."""
    width = sum(values for _, _, values in fields)
    start, done = 0, 0
    places: dict[str, tuple[int, np.dtype[Any]]] = {}
    for name, dtype, values in fields:
        if values == 1:
            places.setdefault(name, (start, dtype))
        start += values
    wanted = columns.wanted
    for matrix in lines.rows(width, count):
        block = {
            name: as_declared(matrix[:, place], dtype)
            if name in columns.typed
            else matrix[:, place]
            for name, (place, dtype) in places.items()
            if name in wanted
        }
        columns.put(done, block)
        done += len(matrix)
    if done < count:
        raise missing_rows(lines, done, count)


def missing_rows(lines: Lines, done: int, count: int) -> ScanError:
    """The error of a text file that ends too early."""
    return lines.error(
        f"the file ends after {done} of {count} rows",
        f"it is cut off or its header is wrong: {EXPORT_AGAIN}",
    )


def as_declared(values: Float64, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers from text as the type that the header gives them, within its range."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    if dtype.itemsize == 8:
        return values
    return np.clip(np.nan_to_num(values), limits.min, limits.max).astype(dtype)


def check_text_end(lines: Lines, promised: str) -> None:
    """Raise ScanError if anything but blank lines follows."""
    while (line := lines.next_line()) is not None:
        if line.strip():
            raise lines.error(
                f"more rows follow than the {promised} of the header",
                f"its counts are wrong: {EXPORT_AGAIN}",
                line=lines.number - 1,
            )


def check_binary_end(file: BinaryIO, path: Path, promised: str) -> None:
    """Raise ScanError if more than line ends and zeros follow."""
    start = file.tell()
    while block := file.read(1 << 20):
        if block.strip(b"\0\r\n \t"):
            raise ScanError(
                path,
                f"{bytes_left(file) + file.tell() - start} bytes follow the {promised}",
                f"its header's counts are wrong: {EXPORT_AGAIN}",
                place=f"byte {start}",
            )


CUT_OFF_NOTE = (
    "the last row has no line end: if the file was cut off there, its last number is wrong"
)


def end_notes(lines: Lines) -> list[str]:
    """What to say of a text file's end."""
    return [CUT_OFF_NOTE] if lines.open_end else []
