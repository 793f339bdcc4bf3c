"""Charts as inline SVG: curves over a unit square and two distributions above and below an axis.

Colours and letters come from the page's style sheet by class, so that a chart is light or dark with
the page; nothing in them depends on a clock or on chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from zeroflaw.types import Float64, Int64, printable

WIDTH, HEIGHT = 300, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 38  # margins around the plot
TOLERANCE = 0.2  # a curve is drawn with so many of its points that none is further off; user units
SMALLEST = 1e-4  # a share that a logarithmic bar chart still shows


@dataclass(frozen=True, eq=False)
class Line:
    """A curve. x, y: (N,), from 0, y to 1, x rising. style: "main", "second" (dashed), "faint" or
    "chance".

    name: shown where the pointer rests on it.
    """

    x: NDArray[np.floating]
    y: NDArray[np.floating]
    style: str = "main"
    name: str = ""


@dataclass(frozen=True, eq=False)
class Bars:
    """Two distributions over the same bins. edges: (B + 1,), rising; above, below: (B,), 0 or more.

    names: of the two. unit: what is counted, such as "scans", or "" for shares of 1. threshold:
    marked by a line.
    """

    edges: Float64
    above: Float64
    below: Float64
    names: tuple[str, str]
    unit: str = ""
    threshold: float | None = None


def curve_chart(
    label: str,
    axes: tuple[str, str],
    lines: Sequence[Line],
    limit: float = 1.0,
    floor: float = 0.0,
) -> str:
    """Return the SVG of curves over [0, limit] × [floor, 1].

    label: what it shows, in words, for those who do not see it. axes: titles of x and y. floor:
    below 1 and at most the lowest y.
    """
    parts = [_frame(axes)]
    for tick in np.linspace(0, 1, 5):
        x, y = _across(tick), _up(tick)
        parts.append(f'<path class="grid" d="M{x} {TOP}V{_up(0)}M{_across(0)} {y}H{_across(1)}"/>')
        parts.append(_text(x, _up(0) + 13, f"{tick * limit:.3g}", "tick"))
        parts.append(_text(LEFT - 5, y + 3.5, f"{floor + tick * (1 - floor):.3g}", "tick end"))
    parts += [_line(line, limit, floor) for line in lines]
    return _svg(label, parts)


def mirrored_bars(label: str, x_title: str, bars: Bars) -> str:
    """Return the SVG of two distributions, the first above the axis, the second below it.

    label: what it shows, in words. x_title: of what the bins are of.

    Counts are drawn as they are; shares by their logarithm, from 0.01 % on, as most points of a
    scan lie in one bin. The two have one scale.
    """
    most = float(max(bars.above.max(initial=0), bars.below.max(initial=0)))
    ticks = _count_ticks(most) if bars.unit else [0.001, 0.01, 0.1, 1.0]
    top = ticks[-1]
    parts = [_frame((x_title, bars.unit))]
    for tick in ticks:
        for place in {_middle(_height(tick, top, bars)), _middle(-_height(tick, top, bars))}:
            parts.append(f'<path class="grid" d="M{_across(0)} {place}H{_across(1)}"/>')
            shown = f"{tick:g}" if bars.unit else f"{100 * tick:g} %"
            parts.append(_text(LEFT - 5, float(place) + 3.5, shown, "tick end"))
    low, high = float(bars.edges[0]), float(bars.edges[-1])
    for value in _ticks_between(low, high):
        place = _across((value - low) / (high - low))
        parts.append(_text(place, _up(0) + 13, f"{value:g}", "tick"))
    for counts, sign, name in ((bars.above, 1, bars.names[0]), (bars.below, -1, bars.names[1])):
        style = "above" if sign > 0 else "below"
        for bin_, count in enumerate(counts):
            if count > 0:
                height = sign * _height(float(count), top, bars)
                parts.append(_bar(bars, bin_, height, style, name, float(count)))
        parts.append(_text(WIDTH - RIGHT - 4, TOP + 12 if sign > 0 else _up(0) - 6, name, "name"))
    parts.append(f'<path class="axis" d="M{_across(0)} {_middle(0)}H{_across(1)}"/>')
    if bars.threshold is not None and low <= bars.threshold <= high:
        x = _across((bars.threshold - low) / (high - low))
        parts.append(
            f'<path class="threshold" d="M{x} {TOP}V{_up(0)}"><title>threshold '
            f"{bars.threshold:.3f}</title></path>"
        )
    return _svg(label, parts)


def thinned(x: Float64, y: Float64, tolerance: float) -> Int64:
    """Return which points of a line suffice to draw it, ends kept, none left out further off.

    x, y: (N,). The algorithm of Ramer (1972) and Douglas and Peucker (1973).
    """
    keep = np.zeros(len(x), dtype=bool)
    keep[[0, -1]] = True
    open_ = [(0, len(x) - 1)]
    while open_:
        first, last = open_.pop()
        if last - first < 2:
            continue
        along = np.array([x[last] - x[first], y[last] - y[first]])
        across = np.stack([x[first + 1 : last] - x[first], y[first + 1 : last] - y[first]])
        length = float(np.hypot(*along))
        if length > 0:
            share = np.clip(along @ across / length**2, 0, 1)
            across = across - along[:, None] * share
        distance = np.hypot(*across)
        worst = int(np.argmax(distance))
        if distance[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            open_ += [(first, middle), (middle, last)]
    return np.flatnonzero(keep)


def _svg(label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'aria-label="{_escaped(label)}">{"".join(parts)}</svg>'
    )


def _frame(axes: tuple[str, str]) -> str:
    """The titles of the axes."""
    x, y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    turned = f'<text class="title" transform="translate(11 {_short(y)}) rotate(-90)">'
    return _text(x, HEIGHT - 6, axes[0], "title") + turned + f"{_escaped(axes[1])}</text>"


def _line(line: Line, limit: float, floor: float) -> str:
    if len(line.x) == 0:
        return ""
    across, up = _cut(np.asarray(line.x, np.float64), np.asarray(line.y, np.float64), limit)
    x = LEFT + across / limit * (WIDTH - LEFT - RIGHT)
    y = HEIGHT - BOTTOM - (up - floor) / (1 - floor) * (HEIGHT - TOP - BOTTOM)
    kept = thinned(x, y, TOLERANCE)
    places = " ".join(f"{_short(a)},{_short(b)}" for a, b in zip(x[kept], y[kept], strict=True))
    name = f"<title>{_escaped(line.name)}</title>" if line.name else ""
    return f'<polyline class="{line.style}" points="{places}">{name}</polyline>'


def _cut(x: Float64, y: Float64, limit: float) -> tuple[Float64, Float64]:
    """The part of a line, x rising, up to the limit."""
    if x[-1] <= limit:
        return x, y
    inside = int(np.searchsorted(x, limit, side="right"))
    end = np.interp(limit, x[inside - 1 : inside + 1], y[inside - 1 : inside + 1])
    return np.append(x[:inside], limit), np.append(y[:inside], end)


def _bar(bars: Bars, bin_: int, height: float, style: str, name: str, count: float) -> str:
    low, high = float(bars.edges[0]), float(bars.edges[-1])
    start, end = (float(edge) for edge in bars.edges[bin_ : bin_ + 2])
    x, right = (float(_across((edge - low) / (high - low))) for edge in (start, end))
    y = min(float(_middle(height)), float(_middle(0)))
    tall = abs(float(_middle(height)) - float(_middle(0)))
    amount = f"{count:,.0f} {bars.unit}" if bars.unit else f"{100 * count:.3g} %"
    return (
        f'<rect class="{style}" x="{_short(x + 0.4)}" y="{_short(y)}" '
        f'width="{_short(max(right - x - 0.8, 0.4))}" height="{_short(tall)}">'
        f"<title>{_escaped(name)}, {start:.3g} to {end:.3g}: {_escaped(amount)}</title></rect>"
    )


def _height(value: float, top: float, bars: Bars) -> float:
    """How far up its half of the plot a count or a share reaches, 0 to 1."""
    if bars.unit:
        return value / top
    floor = math.log10(SMALLEST) - 0.25  # so that the smallest share shows as a stump
    return max(0.0, (math.log10(value) - floor) / -floor) if value > 0 else 0.0


def _count_ticks(most: float) -> list[float]:
    """0, the half and the whole of a round number that is at least `most`, whole numbers all."""
    if most <= 1:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(most))
    top = next(factor * power for factor in (2, 4, 6, 8, 10) if factor * power >= most)
    return [0.0, top / 2, top]


def _ticks_between(low: float, high: float) -> list[float]:
    """At most 6 multiples of a round step from `low` to `high`, both of at most 1."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2):
        first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
        if last - first < 6:
            break
    return [round(number * step, 2) for number in range(first, last + 1)]


def _across(share: float) -> str:
    return _short(LEFT + share * (WIDTH - LEFT - RIGHT))


def _up(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _middle(height: float) -> str:
    """The y of a height, -1 to 1, from the axis in the middle of the plot."""
    return _short(_up(0.5 + height / 2))


def _text(x: float | str, y: float | str, words: str, style: str) -> str:
    return (
        f'<text class="{style}" x="{_short(float(x))}" y="{_short(float(y))}">'
        f"{_escaped(words)}</text>"
    )


def _short(value: float) -> str:
    """A coordinate with one decimal, without a trailing zero."""
    return f"{value:.1f}".removesuffix(".0")


def _escaped(text: str) -> str:
    return escape(printable(text))
