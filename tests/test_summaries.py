"""Scans are sorted by what is wrong with their scores, drawn from the side that shows it."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation_folder import POINTS, SCANS, evaluation, scan
from zeroflaw.reports import gallery
from zeroflaw.reports.gallery import choose, pictures
from zeroflaw.reports.summaries import find_stored, mean_curve, summarize
from zeroflaw.types import Bool, UInt8


def test_the_gallery_sorts_scans_by_their_error(tmp_path: Path) -> None:
    files, _ = find_stored(evaluation(tmp_path), {})
    summaries = [summarize(category, paths)[0] for category, paths in files.items()]
    scans = [one for summary in summaries if summary is not None for one in summary.scans]
    names = {
        group: [one.name.rpartition("/")[2] for one in found]
        for group, found in choose(scans, 3, 0.5).items()
    }
    assert names == {
        "missed": ["missed"],
        "alarms": ["alarm", "fine"],
        "misplaced": ["elsewhere"],
        "best": ["hit", "hit"],
    }


def test_a_scan_beyond_the_threshold_is_an_error_even_without_another_class(tmp_path: Path) -> None:
    alone = (scan("a", "cup", "dent", 0.4), scan("b", "cup", "dent", 0.6))
    files, _ = find_stored(evaluation(tmp_path, alone), {})
    summary, _ = summarize("cup", files["cup"])
    assert summary is not None
    assert [one.name for one in choose(summary.scans, 5, 0.5)["missed"]] == ["a"]
    assert choose(summary.scans, 5, None)["missed"] == []


def pixels(address: str) -> UInt8:
    """The solid pixels of a picture, (K, 3)."""
    file = io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))
    drawn = np.asarray(Image.open(file).convert("RGBA"))
    return drawn[drawn[..., 3] > 250, :3]


def red(colors: UInt8) -> Bool:
    wide = colors.astype(int)
    return wide[:, 0] > wide[:, 2] + 60


def test_a_picture_marks_the_defect_and_outlines_it_on_the_heat_map() -> None:
    defective, good = (pictures(SCANS[place], 0.0, 1.0) for place in (0, 3))
    assert max(defective.size) == gallery.PANEL
    assert 0.005 < red(pixels(defective.truth)).mean() < 0.5
    assert not red(pixels(good.truth)).any()
    white = [(pixels(one.heat).min(axis=1) > 230).sum() for one in (defective, good)]
    assert white[0] > 20
    assert white[1] == 0


def test_opposite_defects_are_shown_from_different_sides() -> None:
    sides = set()
    for sign in (-1, 1):
        points = SCANS[0].preview_points
        label = np.zeros(POINTS, dtype=bool)
        label[SCANS[0].preview_index] = sign * points[:, 0] > 0.7
        sides.add(pictures(replace(SCANS[0], label=label), 0.0, 1.0).side)
    assert len(sides) == 2


def test_a_mean_curve_lies_between_its_curves() -> None:
    steep = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])
    flat = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    nothing = np.empty(0), np.empty(0)
    found = mean_curve([steep, flat, nothing])
    assert found is not None
    x, y = found
    assert (x[0], y[0], y[1]) == (0.0, 0.0, 0.5)
    assert y[1:] == pytest.approx(0.5 + x[1:] / 2)
    assert mean_curve([nothing]) is None


def test_the_mean_of_precisions_has_the_area_of_average_precision() -> None:
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 0.6])
    found = mean_curve([(recall, precision)], stepwise=True)
    assert found is not None
    x, y = found
    assert float(np.sum(np.diff(x) * y[1:])) == pytest.approx(0.5 * 1.0 + 0.5 * 0.6, abs=0.01)


def test_a_summary_tells_the_share_of_scans_on_the_wrong_side(tmp_path: Path) -> None:
    files, _ = find_stored(evaluation(tmp_path), {})
    summary, problems = summarize("bottle", files["bottle"])
    assert summary is not None
    assert not problems
    errors = {one.name.rpartition("/")[2]: one.error for one in summary.scans}
    assert errors["missed"] == 1.0
    assert errors["hit"] == 0.0
    assert errors["alarm"] == pytest.approx(1 / 3)
    assert int(summary.points.sum()) == 5 * POINTS
