"""The views that detectors read are the papers' angles, from the side that a sensor saw."""

from __future__ import annotations

import numpy as np
import pytest

from zeroflaw.geometry.cameras import PRESETS, preset_rotations
from zeroflaw.geometry.view_render import render_views
from zeroflaw.types import Scan


def test_the_presets_are_the_papers_angles() -> None:
    front, around = PRESETS["front"].astype(np.float64), PRESETS["around"].astype(np.float64)
    assert front.shape == around.shape == (9, 3, 3)
    assert front.dtype == around.dtype == np.float64
    for turns in (front, around):
        np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), [np.eye(3)] * 9, atol=1e-6)
        np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-6)
    about_x = np.rad2deg(np.arctan2(front[:5, 2, 1], front[:5, 2, 2]))
    np.testing.assert_allclose(about_x, [-45, -15, 0, 15, 45], atol=1e-4)
    about_y = np.rad2deg(np.arctan2(front[5:, 0, 2], front[5:, 0, 0]))
    np.testing.assert_allclose(about_y, [-30, -15, 15, 30], atol=1e-4)
    np.testing.assert_allclose(front[5:, 1], [[0, 1, 0]] * 4, atol=1e-6)
    steps = np.rad2deg(np.arctan2(around[:, 2, 1], around[:, 2, 2]))
    np.testing.assert_allclose(steps, np.arange(-144, 145, 36), atol=1e-4)
    np.testing.assert_allclose(around[:, 0], [[1, 0, 0]] * 9, atol=1e-6)


def test_an_organised_scan_is_seen_from_its_sensors_side_and_any_other_from_all_sides() -> None:
    column, row = np.meshgrid(np.arange(30.0), np.arange(20.0))
    # A camera's frame: x to the right, y down, z away from it.
    points = np.stack([column, row, 100 + 0 * row], axis=-1).reshape(-1, 3)
    organised = Scan(points, grid=(20, 30))
    turns = preset_rotations(organised)
    np.testing.assert_allclose(turns[2], np.diag([1, -1, -1]), atol=1e-6)
    views = render_views(points, turns, 112)
    top_left, bottom_right = views.pixel[2, [0, -1]].tolist()
    assert (top_left // 112, top_left % 112) < (56, 56) < divmod(bottom_right, 112)
    assert np.array_equal(preset_rotations(Scan(points)), PRESETS["around"])
    assert np.array_equal(preset_rotations(organised, "around"), PRESETS["around"])
    assert np.array_equal(preset_rotations(Scan(points), "front"), PRESETS["front"])
    with pytest.raises(ValueError, match="choose front or around"):
        preset_rotations(organised, "below")
