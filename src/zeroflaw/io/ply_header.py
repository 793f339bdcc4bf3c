"""The header of a PLY file: which elements follow, and what each row of them holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zeroflaw.io.lines import Lines
from zeroflaw.io.rows import Fields
from zeroflaw.io.source import EXPORT_AGAIN
from zeroflaw.types import ScanError

TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}
MOST_DIGITS = 18


@dataclass(frozen=True)
class Property:
    """A value of an element, or a list of values. length: the type of a list's length."""

    name: str
    dtype: np.dtype[Any]
    length: np.dtype[Any] | None = None

    @property
    def least_bytes(self) -> int:
        """How long it is at least in a binary file."""
        return (self.length or self.dtype).itemsize


@dataclass(frozen=True)
class Element:
    """So many rows with the same properties. order: of bytes, "<" or ">"."""

    name: str
    count: int
    properties: tuple[Property, ...]
    order: str

    @property
    def has_lists(self) -> bool:
        """Whether rows can differ in length."""
        return any(one.length is not None for one in self.properties)

    @property
    def scalars(self) -> list[str]:
        """The names of the properties that are no lists."""
        return [one.name for one in self.properties if one.length is None]

    @property
    def fields(self) -> Fields:
        """The properties as fields of one value each, for an element without lists."""
        return tuple((one.name, one.dtype, 1) for one in self.properties)

    def least_bytes(self, *, binary: bool) -> int:
        """How long all rows are together, with empty lists."""
        if binary:
            return self.count * sum(one.least_bytes for one in self.properties)
        return self.count * 2 * len(self.properties)


@dataclass(frozen=True)
class Header:
    """What a PLY file says of its data."""

    encoding: str
    elements: tuple[Element, ...]

    @property
    def vertex(self) -> Element:
        """The element with the points."""
        return next(element for element in self.elements if element.name == "vertex")

    @property
    def least_bytes(self) -> int:
        """How long the rest of the file is at least; the last line needs no end."""
        binary = self.encoding != "ascii"
        total = sum(element.least_bytes(binary=binary) for element in self.elements)
        return total if binary else max(0, total - 1)

    @property
    def promised(self) -> str:
        """The rows that follow, in words."""
        return " and ".join(f"{one.count} {one.name} rows" for one in self.elements)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is in the file and is not used, though it makes a surface."""
        strips = any(one.name == "tristrips" and one.count for one in self.elements)
        return ("triangle strips were ignored: the points are the vertices",) if strips else ()


def read_header(lines: Lines) -> Header:
    """The header, up to and with `end_header`. Raises ScanError."""
    first = lines.next_line()
    if first is None or first.split() != [b"ply"]:
        raise lines.error("the first line is not 'ply'", "expected a PLY file", line=1)
    encoding = ""
    elements: list[Element] = []
    while True:
        line = lines.next_line()
        if line is None:
            raise lines.error(
                "the file ends before the header does", f"expected end_header: {EXPORT_AGAIN}"
            )
        words = line.decode("latin-1").split()
        key = words[0] if words else ""
        if key == "end_header" and len(words) == 1:
            break
        if key == "format" and len(words) == 3 and words[1] in ORDERS:
            encoding = words[1]
        elif key == "element" and encoding:
            elements.append(parse_element(words, ORDERS[encoding], lines))
        elif key == "property" and elements:
            last = elements[-1]
            added = parse_property(words, last.order, lines)
            elements[-1] = replace(last, properties=(*last.properties, added))
        elif key not in ("comment", "obj_info", ""):
            raise bad_line(lines, words)
    if not encoding:
        raise lines.error("no format line in the header", "expected ascii or binary", line=1)
    if [element.name for element in elements].count("vertex") != 1:
        raise lines.error("not exactly one element is called vertex", "expected points", line=1)
    return Header(encoding, tuple(elements))


def parse_element(words: list[str], order: str, lines: Lines) -> Element:
    """An element without its properties. Raises ScanError."""
    if len(words) != 3 or not words[2].isdecimal() or len(words[2]) > MOST_DIGITS:
        raise bad_line(lines, words)
    return Element(words[1], int(words[2]), (), order)


def parse_property(words: list[str], order: str, lines: Lines) -> Property:
    """A property. Raises ScanError."""
    if len(words) == 3 and words[1] in TYPES:
        return Property(words[2], np.dtype(order + TYPES[words[1]]))
    known = len(words) == 5 and words[1] == "list" and words[2] in TYPES and words[3] in TYPES
    if not known or TYPES[words[2]].startswith("f"):
        raise bad_line(lines, words)
    return Property(words[4], np.dtype(order + TYPES[words[3]]), np.dtype(order + TYPES[words[2]]))


def bad_line(lines: Lines, words: list[str]) -> ScanError:
    """The error for the header line that was just read."""
    line = " ".join(words)[:60]
    return lines.error(f"cannot read {line!r}", "expected a PLY header", line=lines.number - 1)
