"""Farthest point sampling picks exactly what the plain loop picks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from zeroflaw.geometry import sample
from zeroflaw.geometry.sample import farthest_point_sample, farthest_point_sample_batch
from zeroflaw.types import Int64


def plain_loop(points: NDArray[Any], count: int, start: int = 0) -> Int64:
    """Pick the farthest point, again and again, over all points each time."""
    x, y, z = points.T
    squared = np.full(len(points), np.inf, dtype=points.dtype)
    picks = [start]
    while len(picks) < count:
        pick = picks[-1]
        offset = ((x - x[pick]) ** 2 + (y - y[pick]) ** 2) + (z - z[pick]) ** 2
        squared = np.minimum(squared, offset)
        squared[picks] = -1
        picks.append(int(squared.argmax()))
    return np.array(picks)


@st.composite
def clouds(draw: st.DrawFn) -> NDArray[Any]:
    """Clouds that are hard on sampling: lattices with ties, copies, clusters, lines, planes."""
    size = draw(st.integers(1, 2000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["normal", "lattice", "copies", "clusters", "line", "plane"]))
    points = rng.normal(size=(size, 3))
    if kind == "lattice":
        points = rng.integers(0, draw(st.integers(1, 12)), size=(size, 3)).astype(float)
    elif kind == "copies":
        points = points[rng.integers(0, max(1, size // 5), size=size)]
    elif kind == "clusters":
        points = points * 1e-3 + 100 * rng.integers(0, 3, size=(size, 3))
    elif kind == "line":
        points = points * [1, 0, 0]
    elif kind == "plane":
        points = points * [1, 5, 0] + [1e6, -4e6, 0]
    return points.astype(draw(st.sampled_from([np.float32, np.float64])))


@settings(max_examples=150, deadline=None)
@given(clouds(), st.data())
def test_picks_are_the_plain_loops_bit_for_bit(points: NDArray[Any], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, min(len(points), 400)))
    start = data.draw(st.integers(0, len(points) - 1))
    expected = plain_loop(points, count, start)
    np.testing.assert_array_equal(farthest_point_sample(points, count, start), expected)


@settings(max_examples=40, deadline=None)
@given(clouds(), st.data())
def test_picks_do_not_depend_on_how_points_are_blocked(
    points: NDArray[Any], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, min(len(points), 200)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "BLOCK_SIZE", (1, data.draw(st.integers(1, 8))))
        patch.setattr(sample, "FAMILY", data.draw(st.integers(1, 4)))
        patch.setattr(sample, "CANDIDATES", data.draw(st.integers(1, 64)))
        patch.setattr(sample, "SLICE_VALUES", data.draw(st.integers(1, 64)))
        np.testing.assert_array_equal(
            farthest_point_sample(points, count), plain_loop(points, count)
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_curved_scan_is_sampled_like_the_plain_loop(dtype: type) -> None:
    rng = np.random.default_rng(5)
    points = rng.normal(size=(60_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points = (points * [1, 0.6, 0.05]).astype(dtype)
    np.testing.assert_array_equal(
        farthest_point_sample(points, 700, 17), plain_loop(points, 700, 17)
    )


def test_every_point_is_picked_once_when_all_are_asked_for() -> None:
    points = np.random.default_rng(0).integers(0, 4, size=(300, 3)).astype(np.float64)
    assert sorted(farthest_point_sample(points, 300)) == list(range(300))


def test_copies_of_one_point_are_picked_by_rising_index() -> None:
    assert farthest_point_sample(np.ones((6, 3)), 6, 3).tolist() == [3, 0, 1, 2, 4, 5]


def test_points_near_the_origin_are_picked_too() -> None:
    points = np.array([[1.0, 0, 0], [0, 0, 0], [0.99, 0, 0]], dtype=np.float32)
    assert farthest_point_sample(points, 2).tolist() == [0, 1]
    assert farthest_point_sample_batch(torch.from_numpy(points)[None], 2).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("count", "start", "message"),
    [(6, 0, "cannot pick 6 of 5"), (0, 0, "cannot pick 0"), (2, 5, "start index 5")],
)
def test_an_impossible_request_says_what_is_wrong(count: int, start: int, message: str) -> None:
    points = np.zeros((5, 3))
    with pytest.raises(ValueError, match=message):
        farthest_point_sample(points, count, start)
    with pytest.raises(ValueError, match=message):
        farthest_point_sample_batch(torch.from_numpy(points)[None], count, start)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_points_that_are_not_finite_are_refused(bad: float) -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    points[7, 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        farthest_point_sample(points, 4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([torch.float32, torch.float64]))
def test_a_batch_is_sampled_like_its_clouds_alone(seed: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(seed)
    batch = torch.from_numpy(rng.integers(0, 9, size=(3, 200, 3)) / 7).to(dtype)
    picks = farthest_point_sample_batch(batch, 60, 11)
    alone = [farthest_point_sample(cloud.numpy(), 60, 11) for cloud in batch]
    np.testing.assert_array_equal(picks.numpy(), np.stack(alone))
