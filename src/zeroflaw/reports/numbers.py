"""Numbers as people read them: lengths in the scan's unit, counts, rounded scales."""

from __future__ import annotations

import math
from collections.abc import Iterable


def length_text(length: float) -> str:
    """A length with three significant digits, plain where that stays short."""
    if length == 0 or not math.isfinite(length):
        return f"{length:g}"
    digits = 2 - math.floor(math.log10(abs(length)))
    if not -4 <= digits <= 7:
        return f"{length:.2e}"
    rounded = round(length, digits)
    return f"{rounded:.{max(digits, 0)}f}"


def place_text(place: Iterable[float], resolution: float) -> str:
    """Coordinates with the decimals that `resolution`, a length in the same unit, calls for."""
    values = list(place)
    decimals = 0
    if resolution > 0 and math.isfinite(resolution):
        decimals = min(max(-math.floor(math.log10(resolution)), 0), 9)
    return " ".join(f"{round(value, decimals) + 0.0:.{decimals}f}" for value in values)


def round_length(limit: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is no more than `limit`."""
    if not limit > 0:
        return 0.0
    power = math.floor(math.log10(limit))
    steps = (factor * 10.0**exponent for exponent in (power - 1, power) for factor in (1, 2, 5))
    return max((step for step in steps if step <= limit), default=limit)


def plural(count: int, noun: str) -> str:
    """ "1 point", "2 points", "100,000 points"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def percent_text(share: float) -> str:
    """A share, 0 to 1, in percent."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"
