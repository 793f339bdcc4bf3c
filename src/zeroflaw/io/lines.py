"""Rows of numbers from a text file, in blocks that fit the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from zeroflaw.io.numerals import Numbers, NumeralError, parse
from zeroflaw.io.source import bytes_left
from zeroflaw.types import Float64, ScanError

BLOCK_BYTES = 1 << 18
LONGEST_LINE = 1 << 20


class Lines:
    """The lines of a text file, one by one or as blocks of numbers.

    number: of the line that comes next, from 1. first: of the first in the last block. delimiter:
    what stands between numbers besides blanks. open_end: whether the last line has no line end.
    """

    def __init__(self, file: BinaryIO, path: Path, delimiter: bytes = b"") -> None:
        self.file = file
        self.path = path
        self.number = 1
        self.open_end = False
        self.first = 1
        self._rest = b""
        self._spaces = bytes.maketrans(delimiter, b" " * len(delimiter)) if delimiter else None

    def leave(self) -> BinaryIO:
        """The file, at the first byte that was not used."""
        self.file.seek(-len(self._rest), 1)
        self._rest = b""
        return self.file

    def bytes_left(self) -> int:
        """How many bytes were not used yet."""
        return len(self._rest) + bytes_left(self.file)

    def next_line(self) -> bytes | None:
        """The next line with its end, None after the last. Raises ScanError for endless lines."""
        while b"\n" not in self._rest:
            more = self.file.read(1 << 16)
            if not more:
                break
            self._rest += more
            if len(self._rest) > LONGEST_LINE:
                raise self.error("the line has no end", "expected a text file with line ends")
        line, end, self._rest = self._rest.partition(b"\n")
        if not line and not end:
            return None
        self.number += 1
        return line + end

    def rows(self, columns: int, count: int = -1) -> Iterator[Float64]:
        """Rows of `columns` numbers, in matrices, until `count` were read or the file ends.

        Raises ScanError for a row of another length or a word that is no number.
        """
        for numbers in self.numbers(count):
            wrong = numbers.lengths != columns
            if wrong.any():
                row = int(np.argmax(wrong))
                raise self.error(
                    f"{numbers.lengths[row]} numbers in a row",
                    f"expected {columns}: the file is damaged or its header is wrong",
                    line=self.first + int(numbers.lines[row]),
                )
            yield numbers.values.reshape(-1, columns)

    def numbers(self, count: int = -1) -> Iterator[Numbers]:
        """Rows of any length, in blocks, until `count` rows were read or the file ends."""
        while count:
            block = self._next_block(count)
            if not block:
                return
            self.first = self.number
            text = block.translate(self._spaces) if self._spaces else block
            try:
                numbers = parse(text)
            except NumeralError as error:
                raise self.error(
                    str(error), "expected only numbers in rows", line=self.first + error.line
                ) from None
            self.number += numbers.line_ends + (not block.endswith(b"\n"))
            count -= len(numbers.lengths) if count > 0 else 0
            if len(numbers.lengths):
                yield numbers

    def _next_block(self, count: int) -> bytes:
        """Whole lines of about BLOCK_BYTES, not more than `count` of them if that is positive."""
        block = self._rest
        self._rest = b""
        if len(block) < BLOCK_BYTES:
            block += self.file.read(BLOCK_BYTES - len(block))
        end = block.rfind(b"\n") + 1
        while not end:
            more = self.file.read(BLOCK_BYTES)
            if not more:
                self.open_end = self.open_end or bool(block.strip())
                return block
            if len(block) > LONGEST_LINE:
                raise self.error("the line has no end", "expected a text file with line ends")
            block += more
            end = block.rfind(b"\n") + 1
        block, self._rest = block[:end], block[end:]
        if 0 < count < len(block):
            newlines = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == 10)
            if len(newlines) > count:
                end = int(newlines[count - 1]) + 1
                block, self._rest = block[:end], block[end:] + self._rest
        return block

    def error(self, problem: str, remedy: str, line: int | None = None) -> ScanError:
        """A ScanError at a line, by default the one that comes next."""
        return ScanError(self.path, problem, remedy, place=f"line {line or self.number}")
