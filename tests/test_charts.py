"""Charts show the numbers they are given, and nothing in them can break out of the page."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroflaw.reports.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Bars,
    Line,
    curve_chart,
    mirrored_bars,
    thinned,
)
from zeroflaw.types import Float64

AXES = ("x", "y")


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def places(svg: str, style: str = "main") -> Float64:
    """The points of the line, as shares of the plot, (K, 2)."""
    (line,) = [one for one in drawn(svg).iter("polyline") if one.get("class") == style]
    pairs = np.array([[float(v) for v in p.split(",")] for p in str(line.get("points")).split()])
    across = (pairs[:, 0] - LEFT) / (WIDTH - LEFT - RIGHT)
    up = (HEIGHT - BOTTOM - pairs[:, 1]) / (HEIGHT - TOP - BOTTOM)
    return np.stack([across, up], axis=1)


def heights(svg: str, style: str) -> list[float]:
    return [
        float(str(one.get("height")))
        for one in drawn(svg).iter("rect")
        if one.get("class") == style
    ]


def test_a_curve_goes_through_its_points() -> None:
    x, y = np.array([0.0, 0.0, 0.5, 1.0]), np.array([0.0, 0.4, 0.9, 1.0])
    found = places(curve_chart("ROC", AXES, [Line(x, y)]))
    assert found == pytest.approx(np.stack([x, y], axis=1), abs=1e-3)


def test_the_plot_may_start_above_zero() -> None:
    line = Line(np.array([0.0, 1.0]), np.array([0.6, 1.0]))
    svg = curve_chart("AUROC", AXES, [line], floor=0.5)
    assert places(svg) == pytest.approx(np.array([[0.0, 0.2], [1.0, 1.0]]), abs=1e-3)
    assert ">0.5<" in svg


def test_a_curve_is_cut_where_the_plot_ends() -> None:
    line = Line(np.array([0.0, 0.2, 0.4, 1.0]), np.array([0.0, 0.5, 0.7, 1.0]))
    found = places(curve_chart("PRO", AXES, [line], limit=0.3))
    assert found[-1] == pytest.approx([1.0, 0.6], abs=1e-3)
    assert found[1] == pytest.approx([0.2 / 0.3, 0.5], abs=2e-3)


def test_an_empty_curve_leaves_the_axes() -> None:
    svg = curve_chart("ROC", AXES, [Line(np.empty(0), np.empty(0))])
    assert not list(drawn(svg).iter("polyline"))
    assert "0.75" in svg


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=60))
def test_thinning_moves_no_point_further_than_it_says(values: list[float]) -> None:
    x, y = np.linspace(0, 1, len(values)), np.array(values)
    kept = thinned(x, y, 0.05)
    assert kept[0] == 0
    assert kept[-1] == len(x) - 1
    for start, end in pairwise(kept):
        along = np.array([x[end] - x[start], y[end] - y[start]])
        for i in range(start + 1, end):
            off = np.array([x[i] - x[start], y[i] - y[start]])
            share = np.clip(along @ off / (along @ along), 0, 1)
            assert np.hypot(*(off - share * along)) <= 0.05 + 1e-9


def test_a_straight_line_needs_two_points() -> None:
    x = np.linspace(0, 1, 1000)
    assert list(thinned(x, x, 1e-6)) == [0, 999]


def test_bars_are_as_high_as_their_counts() -> None:
    bars = Bars(np.linspace(0, 1, 4), np.array([1, 0, 4]), np.array([0, 2, 0]), ("a", "b"), "scans")
    svg = mirrored_bars("scores", "score", bars)
    low, high = heights(svg, "above")
    (below,) = heights(svg, "below")
    assert high == pytest.approx(4 * low, abs=0.3)
    assert below == pytest.approx(2 * low, abs=0.3)
    assert "4 scans" in svg


def test_shares_are_drawn_by_powers_of_ten() -> None:
    shares = np.array([1.0, 0.1, 0.01, 0.001, 0.0])
    svg = mirrored_bars("points", "score", Bars(np.arange(6) / 5, shares, shares, ("a", "b")))
    found = heights(svg, "above")
    assert len(found) == 4, "no bar for a share of 0"
    steps = -np.diff(found)
    assert steps == pytest.approx([steps[0]] * 3, abs=0.3)


def test_the_threshold_stands_where_it_belongs() -> None:
    bars = Bars(np.linspace(0, 1, 11), np.ones(10), np.ones(10), ("a", "b"), "scans", 0.25)
    (line,) = [
        one
        for one in drawn(mirrored_bars("s", "x", bars)).iter("path")
        if one.get("class") == "threshold"
    ]
    x = float(str(re.match(r"M([\d.]+) ", str(line.get("d")))[1]))  # type: ignore[index]
    assert (x - LEFT) / (WIDTH - LEFT - RIGHT) == pytest.approx(0.25, abs=1e-3)


@given(st.integers(0, 10_000_000))
def test_counts_of_any_size_have_whole_ticks(most: int) -> None:
    bars = Bars(np.array([0.0, 1.0]), np.array([most]), np.array([0]), ("a", "b"), "scans")
    svg = mirrored_bars("s", "x", bars)
    ticks = [one.text for one in drawn(svg).iter("text") if one.get("class") == "tick end"]
    numbers = [float(str(tick)) for tick in ticks]
    assert all(number == int(number) for number in numbers)
    assert most <= max(numbers) <= max(2.5 * most, 2)


def test_hostile_names_stay_text() -> None:
    name = '"><script>alert(1)</script>'
    ones = np.array([0.0, 1.0])
    for svg in (
        curve_chart(name, (name, name), [Line(ones, ones, "main", name)]),
        mirrored_bars(name, name, Bars(ones, ones[1:], ones[1:], (name, name), name)),
    ):
        assert "<script" not in svg
        assert drawn(svg).get("aria-label") == name
