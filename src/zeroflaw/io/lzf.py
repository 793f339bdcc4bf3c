"""LZF decompression, as in compressed PCD files."""

from __future__ import annotations

import numpy as np

from zeroflaw.types import Int64, UInt8

WINDOW = 1 << 16  # compressed bytes whose tokens are laid out at once
REACH = 1 << 13  # how far back a copy can reach
BEST_RATIO = 264 / 3  # of the longest copy


class LZFError(ValueError):
    """Compressed data that does not decompress to what was promised."""


def decompress(data: UInt8, size: int) -> UInt8:
    """The `size` bytes that `data` stands for. Raises LZFError.

    A control byte c below 32 is followed by c + 1 literal bytes; any other copies bytes from
    earlier output: its upper three bits + 2 are how many (7: one more byte is added), its lower
    five and the next byte + 1 how far back. Format: M. Lehmann, LibLZF.
    """
    if size > len(data) * BEST_RATIO:
        raise LZFError(f"{len(data)} bytes cannot hold {size}")
    output: UInt8 = np.empty(size, dtype=np.uint8)
    place, done = 0, 0
    while place < len(data):
        starts, place = token_starts(data, place)
        done = expand(data, starts, output, done)
    if done != size:
        raise LZFError(f"{done} bytes come out, {size} were promised")
    return output


def token_starts(data: UInt8, place: int) -> tuple[Int64, int]:
    """Where the tokens of a window start, the first at `place`, and where the next one does."""
    control = data[place : place + WINDOW].astype(np.int32)
    step = np.where(control < 32, control + 2, np.where(control >= 224, 3, 2))
    after: list[int] = (np.arange(len(step), dtype=np.int32) + step).tolist()
    starts = []
    at, end = 0, len(after)
    while at < end:
        starts.append(at)
        at = after[at]
    if place + at > len(data):
        raise LZFError("the last part is cut off")
    return np.array(starts, dtype=np.int64) + place, place + at


def expand(data: UInt8, starts: Int64, output: UInt8, done: int) -> int:
    """Write what these tokens stand for after the first `done` bytes; returns the new end."""
    control = data[starts].astype(np.int64)
    literal = control < 32
    long = control >= 224
    length = np.where(literal, control + 1, (control >> 5) + 2)
    length[long] += data[starts[long] + 1]
    back = ((control & 31) << 8) + data[starts + 1 + long] + 1
    ends = np.cumsum(length)
    begins = ends - length
    total = int(ends[-1])
    if done + total > len(output):
        raise LZFError(f"more than the promised {len(output)} bytes come out")
    if (back[~literal] > begins[~literal] + done).any():
        raise LZFError("a copy starts before the first byte")
    # Copies reach back over the windows before, so what is filled in begins with their last bytes.
    history = min(done, REACH)
    part = output[done - history : done + total]
    place = np.arange(history, history + total, dtype=np.int32)
    source = place + np.repeat(np.where(literal, 0, -back).astype(np.int32), length)
    of_data = np.repeat((starts + 1 - begins - history).astype(np.int32), length)
    from_data = np.repeat(literal, length)
    here = place[from_data]
    part[here] = data[here + of_data[from_data]]
    copied = place[~from_data]
    part[copied] = part[origins(source, copied, history)]
    return done + total


def origins(source: Int64, copied: Int64, history: int) -> Int64:
    """Where each copied byte first stood, following copies of copies by doubling."""
    root = np.concatenate([np.arange(history, dtype=source.dtype), source])
    unsettled = copied
    while len(unsettled):
        step = root[unsettled]
        further = root[step]
        root[unsettled] = further
        unsettled = unsettled[further != step]
    return root[copied]
