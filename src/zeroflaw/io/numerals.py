"""Numbers from text: whole blocks of rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zeroflaw.types import Float64, Int64

ALLOWED = b"0123456789+-.eEinfatyINFATY \t\r\n"


class NumeralError(ValueError):
    """A word that is not a number. line: in the block, from 0."""

    def __init__(self, line: int, word: str) -> None:
        self.line = line
        self.word = word
        super().__init__(f"{word!r} is not a number")


@dataclass(frozen=True, eq=False)
class Numbers:
    """The numbers of a block of text. values: (K,); lengths: (R,), how many each row has.

    Rows without any are left out. lines: (R,), each row's line in the block, from 0.
    """

    values: Float64
    lengths: Int64
    lines: Int64


def parse(block: bytes) -> Numbers:
    """The numbers in whole lines of text, separated by blanks. Raises NumeralError."""
    text = np.frombuffer(block, dtype=np.uint8)
    blank = text <= 32
    line_ends = np.flatnonzero(text == 10)
    starts = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]]))
    values = words(block)
    bounds = np.concatenate([[0], np.searchsorted(starts, line_ends), [len(starts)]])
    lengths: NDArray[np.int64] = np.diff(bounds)
    lines = np.flatnonzero(lengths)
    return Numbers(values, lengths[lines], lines)


def words(block: bytes) -> Float64:
    """Every number of a block. Raises NumeralError."""
    if block.translate(None, ALLOWED):
        raise first_bad(block)
    try:
        values: Float64 = np.array(block.split(), dtype=np.float64)
    except ValueError:
        raise first_bad(block) from None
    return values


def first_bad(block: bytes) -> NumeralError:
    """The error for the first word that is no number."""
    for line, row in enumerate(block.split(b"\n")):
        for word in row.split():
            try:
                if word.translate(None, ALLOWED):
                    raise ValueError
                float(word)
            except ValueError:
                return NumeralError(line, word[:40].decode("utf-8", "replace"))
    return NumeralError(0, "")
