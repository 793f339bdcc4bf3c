"""Masks for training cover what labelled points show, in the views that see them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from test_view_render import FRONT, RADIUS, distance_from_middle, scattered, sphere
from zeroflaw.geometry.view_render import Views, projected_mask, render_views


def cap_views() -> tuple[Views, Tensor]:
    points = sphere(20_000)
    labels = torch.from_numpy(points[:, 2] > 0.8)
    turns = np.stack([np.eye(3), np.diag([1.0, -1.0, -1.0])])
    return render_views(points, turns, 168, points), labels


def test_a_mask_covers_what_labelled_points_cover_and_no_more() -> None:
    views, labels = cap_views()
    mask = projected_mask(views, labels)
    far = torch.from_numpy(distance_from_middle(168) / 168 / RADIUS)
    assert bool(mask[0, far < 0.57].all())
    assert not bool(mask[0, far > 0.63].any())
    assert not bool(mask[1].any())  # the cap is behind


def test_masks_of_all_and_no_points_are_the_foreground_and_nothing() -> None:
    views, labels = cap_views()
    assert torch.equal(projected_mask(views, torch.ones_like(labels)), views.shade < 1)
    assert not bool(projected_mask(views, torch.zeros_like(labels)).any())
    with pytest.raises(ValueError, match="labels for 20000 points"):
        projected_mask(views, labels[:-1])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_a_mask_has_the_label_of_the_nearest_visible_point(seed: int, count: int) -> None:
    points, normals = scattered(seed, count)
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.4
    views = render_views(points, FRONT, 24, normals)
    mask = projected_mask(views, labels)[0].numpy()
    seen = views.visible[0].numpy()
    row, column = np.divmod(views.pixel[0].numpy(), 24)
    for y in range(24):
        for x in range(24):
            away = np.where(seen, (row - y) ** 2 + (column - x) ** 2, 10**6)
            expected = bool(labels[away == away.min()].any()) and views.shade[0, y, x] < 1
            assert bool(mask[y, x]) == bool(expected)
