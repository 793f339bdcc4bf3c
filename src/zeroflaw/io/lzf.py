"""LZF decompression, as in compressed PCD files."""

from __future__ import annotations

BEST_RATIO = 264 / 3  # of the longest copy


class LZFError(ValueError):
    """Compressed data that does not decompress to what was promised."""


def decompress(data: bytes, size: int) -> bytearray:
    """The `size` bytes that `data` stands for. Raises LZFError.

    A control byte c below 32 is followed by c + 1 literal bytes; any other copies bytes from
    earlier output: its upper three bits + 2 are how many (7: one more byte is added), its lower
    five and the next byte + 1 how far back. Format: M. Lehmann, LibLZF.
    """
    if size > len(data) * BEST_RATIO:
        raise LZFError(f"{len(data)} bytes cannot hold {size}")
    output = bytearray()
    place, done = 0, 0
    end = len(data)
    try:
        while place < end:
            control = data[place]
            if control < 32:
                place += control + 2
                done += control + 1
                output += data[place - control - 1 : place]
                continue
            length = (control >> 5) + 2
            if length == 9:
                length += data[place + 1]
                place += 1
            start = done - ((control & 31) << 8) - data[place + 1] - 1
            if start < 0:
                raise LZFError("a copy starts before the first byte")
            place += 2
            if start + length <= done:
                output += output[start : start + length]
            else:  # the copy runs into what it writes: a repetition
                period = output[start:done]
                output += (period * (length // len(period) + 1))[:length]
            done += length
            if done > size:
                break
    except IndexError:
        raise LZFError("the last part is cut off") from None
    if done != size or len(output) != size:
        raise LZFError(f"{len(output)} bytes come out, {size} were promised")
    return output
