"""XYZ, TXT, ASC and CSV files: rows of numbers, with or without a line of names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from zeroflaw.io.columns import POINTS, ScanColumns, find
from zeroflaw.io.lines import Lines
from zeroflaw.io.rows import end_notes
from zeroflaw.io.sampling import Sampling
from zeroflaw.io.source import EXPORT_AGAIN, opened
from zeroflaw.io.validate import columns_left_out
from zeroflaw.types import Float64, Scan, ScanError

BOM = b"\xef\xbb\xbf"
COMMENTS = ("#", "//", "%")
DELIMITERS = (",", ";", "\t")
MOST_COLUMNS = 1000
UNIT = re.compile(r"\s*[\[(].*?[\])]")
DECIMAL_COMMA = re.compile(r"^[-+]?\d+,\d+$")


@dataclass(frozen=True)
class Layout:
    """How a text file is written. names: of all columns, if it says them. promised: how many rows
    it says it has, -1 if it does not. opening: lines before the first row of numbers.
    """

    delimiter: str
    columns: int
    names: tuple[str, ...] | None
    promised: int
    opening: int


def read_text(path: Path, sampling: Sampling | None = None) -> Scan:
    """The scan in a text file: the columns that its header names, else the first three.

    Raises ScanError.
    """
    del sampling  # of meshes only
    with opened(path) as file:
        layout = find_layout(Lines(file, path))
        file.seek(0)
        file.seek(len(BOM) if file.read(len(BOM)) == BOM else 0)
        lines = Lines(file, path, layout.delimiter.strip().encode())
        for _ in range(layout.opening):
            lines.next_line()
        parts = list(lines.rows(layout.columns))
        count = sum(map(len, parts))
        if layout.promised not in (-1, count):
            raise ScanError(
                path,
                f"holds {count} rows, but its first line promises {layout.promised}",
                f"the file is cut off or damaged: {EXPORT_AGAIN}",
            )
        names = layout.names or ("x", "y", "z")
        columns = ScanColumns(names, count, path)
        start = 0
        parts.reverse()
        while parts:  # giving back the memory of each part as the scan's own fills up
            part = parts.pop()
            columns.put(start, by_name(part, names))
            start += len(part)
        notes = end_notes(lines)
        if layout.names is None and layout.columns > 3:
            notes.append(columns_left_out(layout.columns))
        return columns.scan(notes=notes)


def by_name(rows: Float64, names: tuple[str, ...]) -> dict[str, Float64]:
    """Columns by name, the first of those that share one."""
    columns: dict[str, Float64] = {}
    for place, name in enumerate(names):
        columns.setdefault(name, rows[:, place])
    return columns


def find_layout(lines: Lines) -> Layout:
    """The layout, from the lines up to the first row of numbers. Raises ScanError."""
    header: str | None = None
    remark: str | None = None
    promised = -1
    while (raw := lines.next_line()) is not None:
        text = decoded(raw, lines)
        bare = text.strip()
        if not bare:
            continue
        comment = next((mark for mark in COMMENTS if bare.startswith(mark)), "")
        if comment:
            words = bare.lstrip("#/% ")
            remark = words if column_names(words) is not None else remark
            continue
        split = split_numbers(bare)
        if promised < 0 and header is None and bare.isdecimal():
            promised = int(bare[:18])
            continue
        if split is None:
            if header is not None or promised >= 0:
                raise not_numbers(bare, lines)
            header = bare
            continue
        delimiter, columns = split
        if header is None and remark and len(column_names(remark) or ()) == columns:
            header = remark
        return checked_layout(delimiter, columns, header, promised, lines)
    raise ScanError(lines.path, "holds no row of numbers", "expected rows of x y z")


def checked_layout(
    delimiter: str, columns: int, header: str | None, promised: int, lines: Lines
) -> Layout:
    """The layout of rows of so many columns below a header. Raises ScanError."""
    opening = lines.number - 2
    if not 3 <= columns <= MOST_COLUMNS:
        raise lines.error(
            f"{columns} numbers in a row", "expected x, y and z in each row", line=opening + 1
        )
    if header is None:
        return Layout(delimiter, columns, None, promised, opening)
    names = column_names(header)
    if names is None:
        listed = " ".join(header.split())[:60]
        raise lines.error(
            f"the header is {listed!r}", "expected x, y and z among its names", line=opening
        )
    if len(names) != columns:
        raise lines.error(
            f"{columns} numbers in a row, but {len(names)} names in the header",
            "expected one name per column",
            line=opening + 1,
        )
    return Layout(delimiter, columns, names, promised, opening)


def column_names(header: str) -> tuple[str, ...] | None:
    """The names in a header, lower case and without units; None without x, y and z."""
    header = UNIT.sub("", header)
    delimiter = next((mark for mark in DELIMITERS if mark in header), None)
    names = tuple(word.strip(" \t\"'").lower() for word in header.split(delimiter))
    if delimiter and names and not names[-1]:
        names = names[:-1]
    return names if find(POINTS, {name: name for name in names}) else None


def split_numbers(line: str) -> tuple[str, int] | None:
    """The delimiter of a row and how many numbers it has; None if it has anything else."""
    for delimiter in (*DELIMITERS, None):
        if delimiter and delimiter not in line:
            continue
        words = line.rstrip((delimiter or "") + " ").split(delimiter)
        if delimiter == "\t":
            words = line.split()
        try:
            return delimiter or " ", len([float(word) for word in words])
        except ValueError:
            continue
    return None


def not_numbers(line: str, lines: Lines) -> ScanError:
    """The error of a line that should be a row of numbers."""
    comma = any(DECIMAL_COMMA.match(word) for word in re.split(r"[;\s]+", line))
    remedy = "write decimals with a point" if comma else "expected a row of numbers"
    return lines.error(f"cannot read {line[:40]!r}", remedy, line=lines.number - 1)


def decoded(raw: bytes, lines: Lines) -> str:
    """A line as text. Raises ScanError for bytes that text does not have."""
    if b"\0" in raw:
        raise lines.error(
            "the file is not text", "expected rows of x y z, as UTF-8", line=lines.number - 1
        )
    text = raw.decode("utf-8", "replace")
    return text.removeprefix("\ufeff")
