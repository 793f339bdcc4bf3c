"""Nearest neighbours are the true ones, and values pass between clouds by distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from zeroflaw.geometry import neighbors
from zeroflaw.geometry.curve import z_order
from zeroflaw.geometry.neighbors import group, interpolate, knn, knn_batch


@st.composite
def cloud_pairs(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points and queries, some of them on lattices, with copies, or far from the origin."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    points = rng.normal(size=(draw(st.integers(1, 300)), 3))
    queries = rng.normal(size=(draw(st.integers(1, 300)), 3))
    if draw(st.booleans()):
        points, queries = np.round(points), np.round(queries)
    shift = draw(st.sampled_from([0.0, 4e5]))
    return points + shift, queries + shift


def all_distances(points: NDArray[Any], queries: NDArray[Any]) -> NDArray[Any]:
    distance: NDArray[Any] = np.linalg.norm(queries[:, None] - points[None], axis=2)
    return distance


@settings(max_examples=80, deadline=None)
@given(cloud_pairs(), st.data())
def test_neighbours_are_the_nearest_of_all(
    pair: tuple[NDArray[Any], NDArray[Any]], data: st.DataObject
) -> None:
    points, queries = pair
    k = data.draw(st.integers(1, len(points)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "SLICE", data.draw(st.integers(1, 400)))
        distance, index = knn(points, queries, k)
    full = all_distances(points, queries)
    np.testing.assert_allclose(distance, np.sort(full, axis=1)[:, :k], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        np.take_along_axis(full, index, axis=1), distance, rtol=1e-6, atol=1e-9
    )
    assert all(len(set(row)) == k for row in index.tolist())
    assert distance.dtype == np.float32
    assert index.dtype == np.int64


@settings(max_examples=40, deadline=None)
@given(cloud_pairs(), st.data())
def test_a_batch_finds_the_same_neighbours_in_slices(
    pair: tuple[NDArray[Any], NDArray[Any]], data: st.DataObject
) -> None:
    points, queries = pair
    k = data.draw(st.integers(1, len(points)))
    clouds = torch.from_numpy(np.stack([points, points[::-1].copy()]))
    asked = torch.from_numpy(np.stack([queries, queries[::-1].copy()]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "BATCH_ENTRIES", data.draw(st.integers(1, 2000)))
        distance, index = knn_batch(clouds, asked, k)
    for cloud, query, near, which in zip(clouds, asked, distance, index, strict=True):
        full = all_distances(cloud.numpy(), query.numpy())
        np.testing.assert_allclose(near, np.sort(full, axis=1)[:, :k], rtol=1e-6, atol=1e-9)
        taken = np.take_along_axis(full, which.numpy(), axis=1)
        np.testing.assert_allclose(taken, near, rtol=1e-6, atol=1e-9)


def test_a_patch_holds_its_center_first_and_then_the_points_around_it() -> None:
    points = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    centers = np.array([3, 499, 70])
    patches = group(points, centers, 32)
    np.testing.assert_array_equal(patches[:, 0], centers)
    expected = np.argsort(all_distances(points, points[centers]), axis=1)[:, :32]
    np.testing.assert_array_equal(np.sort(patches, axis=1), np.sort(expected, axis=1))


@settings(max_examples=60, deadline=None)
@given(cloud_pairs(), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_inverse_distance_weighs_the_nearest_known_values(
    pair: tuple[NDArray[Any], NDArray[Any]], k: int, seed: int
) -> None:
    known = np.unique(pair[0], axis=0)
    known = known + np.random.default_rng(seed).normal(size=known.shape) * 1e-3
    values = np.random.default_rng(seed).normal(size=len(known))
    result = interpolate(known, values, pair[1], k)
    k = min(k, len(known))
    full = all_distances(known, pair[1])
    nearest = np.argsort(full, axis=1, kind="stable")[:, :k]
    weight = 1 / np.take_along_axis(full, nearest, axis=1)
    expected = (weight * values[nearest]).sum(axis=1) / weight.sum(axis=1)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_known_points_keep_their_values() -> None:
    known = np.random.default_rng(2).normal(size=(400, 3)) + 1e6
    values = np.random.default_rng(3).random(400).astype(np.float32)
    for mode in ("inverse_distance", "nearest"):
        np.testing.assert_array_equal(interpolate(known, values, known, mode=mode), values)


def test_nearest_takes_the_value_of_the_nearest_point_untouched() -> None:
    rng = np.random.default_rng(4)
    known, queries = rng.normal(size=(200, 3)), rng.normal(size=(3000, 3))
    values = rng.random(200).astype(np.float32)
    expected = values[all_distances(known, queries).argmin(axis=1)]
    np.testing.assert_array_equal(interpolate(known, values, queries, mode="nearest"), expected)


def test_interpolated_values_stay_between_the_known_ones() -> None:
    rng = np.random.default_rng(6)
    known = rng.normal(size=(50, 3))
    values = rng.random(50)
    result = interpolate(known, values, np.concatenate([known, 100 * rng.normal(size=(500, 3))]))
    assert values.min() - 1e-6 <= result.min()
    assert result.max() <= values.max() + 1e-6


def test_copies_of_a_known_point_share_its_place_evenly() -> None:
    known = np.array([[0.0, 0, 0], [0, 0, 0], [9, 0, 0]])
    assert interpolate(known, np.array([1.0, 3.0, 50.0]), np.zeros((1, 3))).tolist() == [2.0]


def test_no_queries_have_no_neighbours() -> None:
    points, nothing = np.eye(3), np.empty((0, 3))
    assert knn(points, nothing, 2)[1].shape == (0, 2)
    assert interpolate(points, np.ones(3), nothing).shape == (0,)


@pytest.mark.parametrize("k", [0, 4])
def test_more_neighbours_than_points_is_an_error(k: int) -> None:
    with pytest.raises(ValueError, match=f"cannot take {k} neighbours among 3 points"):
        knn(np.eye(3), np.eye(3), k)
    with pytest.raises(ValueError, match=f"cannot take {k} neighbours among 3 points"):
        knn_batch(torch.eye(3)[None], torch.eye(3)[None], k)


def test_a_wrong_mode_or_number_of_values_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown mode 'linear'"):
        interpolate(np.eye(3), np.ones(3), np.eye(3), mode="linear")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected \(3,\)"):
        interpolate(np.eye(3), np.ones(2), np.eye(3))


def test_the_curve_visits_every_point_once_and_in_short_steps() -> None:
    points = np.random.default_rng(7).random((20_000, 3)) * [5, 3, 0] + [4e5, 5e6, 30]
    order = z_order(points)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(points)))
    step = np.linalg.norm(np.diff(points[order], axis=0), axis=1)
    assert np.median(step) < 3 * np.sqrt(5 * 3 / len(points))
    assert z_order(np.ones((4, 3))).tolist() == [0, 1, 2, 3]


def test_stray_points_do_not_spoil_the_curve_for_the_others() -> None:
    rng = np.random.default_rng(8)
    points = np.concatenate([rng.random((20_000, 3)) * [1, 1, 0], 1e6 * rng.normal(size=(20, 3))])
    points = rng.permutation(points)
    order = z_order(points)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(points)))
    step = np.linalg.norm(np.diff(points[order], axis=0), axis=1)
    assert np.median(step) < 3 * np.sqrt(1 / len(points))
