"""Numbers from text, a block of rows at once.

Eight digits are loaded as one 64-bit word and become a number in three multiplications, for all
words of a block together. What has an exponent, or more digits than a double holds, goes through
`float`. Either way the result is the nearest double.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zeroflaw.types import Bool, Float64, Int64

UInt64 = NDArray[np.uint64]

ALLOWED = b"0123456789+-.eEinfatyINFATY"
PADDING = b" " * 8  # so that eight bytes can be loaded before any place
MOST_SLOW = 0.1  # share of words from which on all are read the slow way
LARGEST_EXACT = 1 << 53  # whole numbers up to here, over powers of ten up to 22, round once
ZEROS = np.uint64(0x3030303030303030)  # the text "00000000"
POWERS = 10 ** np.arange(19, dtype=np.uint64)
KEEP = np.array([(1 << 64) - (1 << 8 * (8 - n)) for n in range(9)], dtype=np.uint64)
"""Which bytes of a word are its last n characters."""


class NumeralError(ValueError):
    """A word that is not a number. line: in the block, from 0."""

    def __init__(self, line: int, word: str) -> None:
        self.line = line
        self.word = word
        super().__init__(f"{word!r} is not a number")


@dataclass(frozen=True, eq=False)
class Numbers:
    """The numbers of a block of text. values: (K,); lengths: (R,), how many each row has.

    Rows without any are left out. lines: (R,), each row's line in the block, from 0. line_ends: how
    many there are.
    """

    values: Float64
    lengths: Int64
    lines: Int64
    line_ends: int


def parse(block: bytes) -> Numbers:
    """The numbers in whole lines of text, separated by blanks. Raises NumeralError."""
    text = b"".join((PADDING, block, b"\n"))
    letters = np.frombuffer(text, dtype=np.uint8)
    blank = letters <= ord(" ")
    edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1
    starts, ends = edges[0::2], edges[1::2]
    line_ends = np.flatnonzero(letters == ord("\n"))
    lengths = row_lengths(starts, line_ends)
    lines = np.flatnonzero(lengths)
    values, slow = fast_values(text, letters, starts, ends)
    control = (letters < ord(" ")) & (letters - np.uint8(9) > 4)  # neither text nor blank
    try:
        if control.any() or len(slow) > MOST_SLOW * len(values):
            values = slow_values(block)
        else:
            for place in slow.tolist():
                values[place] = number(text[starts[place] : ends[place]])
    except ValueError:
        raise first_error(block) from None
    return Numbers(values, lengths[lines], lines, len(line_ends) - 1)


def fast_values(
    text: bytes, letters: NDArray[np.uint8], starts: Int64, ends: Int64
) -> tuple[Float64, Int64]:
    """The words as numbers (K,), and which of them are not right that way."""
    first = letters[starts]
    negative = first == ord("-")
    digits = starts + (negative | (first == ord("+")))
    dots = np.flatnonzero(letters == ord("."))
    if len(dots) != len(starts) or (dots < digits).any() or (dots >= ends).any():
        dots = first_dots(dots, starts, ends)
    whole = dots - digits
    fraction = np.maximum(ends - dots - 1, 0)
    count = whole + fraction
    right = (whole <= 8) & (fraction <= 16) & (count > 0) & (count <= 18)
    low, high = np.minimum(fraction, 8), np.clip(fraction - 8, 0, 8)
    words: UInt64 = np.ndarray((len(text) - 7,), dtype="<u8", buffer=text, strides=(1,))
    mantissa = eight_digits(words[dots - 8], np.clip(whole, 0, 8), right)
    if high.any():
        mantissa *= POWERS[high]
        mantissa += eight_digits(words[ends - low - 8], high, right)
    mantissa *= POWERS[low]
    mantissa += eight_digits(words[ends - 8], low, right)
    right &= mantissa <= LARGEST_EXACT
    values: Float64 = mantissa.astype(np.float64)
    values /= POWERS[low + high]
    np.negative(values, where=negative, out=values)
    return values, np.flatnonzero(~right)


def row_lengths(starts: Int64, line_ends: Int64) -> Int64:
    """How many words each line has."""
    rows = len(line_ends) - 1  # the last line is empty, as a rule
    width = len(starts) // max(rows, 1)
    if rows and width * rows == len(starts) and width:
        table = starts.reshape(rows, width)
        if (table[:, -1] < line_ends[:-1]).all() and (table[1:, 0] > line_ends[:-2]).all():
            return np.append(np.full(rows, width), 0)
    return np.diff(np.searchsorted(starts, line_ends), prepend=0)


def first_dots(dots: Int64, starts: Int64, ends: Int64) -> Int64:
    """Each word's first point, its end if it has none."""
    dots = np.append(dots, np.iinfo(np.int64).max)
    return np.minimum(dots[np.searchsorted(dots, starts)], ends)


def eight_digits(words: UInt64, count: Int64, right: Bool) -> UInt64:
    """What the last `count` characters of eight mean as digits; not `right` where they are none."""
    keep = KEEP[count]
    words &= keep
    words |= ZEROS & ~keep
    # A byte from 0x30 to 0x39 stays below 0x80 when 0x46 is added and does not borrow 0x30.
    strange = (words + np.uint64(0x4646464646464646)) | (words - ZEROS)
    right &= (strange & np.uint64(0x8080808080808080)) == 0
    words -= ZEROS
    for tens, shift, mask in (
        (10, 8, 0x00FF00FF00FF00FF),
        (100, 16, 0x0000FFFF0000FFFF),
        (10_000, 32, 0x00000000FFFFFFFF),
    ):
        # Neighbours pair up: the earlier character, in the lower byte, counts `tens` times more.
        words = (words * np.uint64(tens) + (words >> np.uint64(shift))) & np.uint64(mask)
    return words


def slow_values(block: bytes) -> Float64:
    """Every number of a block. Raises ValueError."""
    if block.translate(None, ALLOWED + b" \t\r\n\v\f"):
        raise ValueError("letters that numbers do not have")
    return np.array(block.split(), dtype=np.float64)


def number(word: bytes) -> float:
    """The word as a number. Raises ValueError, also for what only Python takes for one."""
    if word.translate(None, ALLOWED):
        raise ValueError("letters that numbers do not have")
    return float(word)


def first_error(block: bytes) -> NumeralError:
    """The error for the first word that is no number."""
    for line, row in enumerate(block.split(b"\n")):
        for word in row.split():
            try:
                number(word)
            except ValueError:
                return NumeralError(line, word[:40].decode("utf-8", "replace"))
    return NumeralError(0, "")
