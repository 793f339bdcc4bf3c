"""Scores of pixels come back to the points, exactly, and reach those that no view sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zeroflaw.geometry.backproject import back_project, nearest_seen

PUBLISHED = Path(__file__).parent / "parity" / "clip_public.npz"


def case(seed: int, views: int, count: int, seen: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    maps = torch.rand((views, 7, 7), generator=random, dtype=torch.float64)
    pixel = torch.randint(0, 49, (views, count), generator=random)
    visible = torch.rand((views, count), generator=random) < seen
    visible[0, 0] = True
    # A coarse lattice, so that several seen points are as near.
    points = torch.randint(0, 5, (count, 3), generator=random).double()
    return maps, pixel, visible, points


def slow(maps: Tensor, pixel: Tensor, visible: Tensor, points: Tensor) -> list[float]:
    values: list[float | None] = []
    for point in range(pixel.shape[1]):
        found = [
            float(maps[view].flatten()[pixel[view, point]])
            for view in range(len(maps))
            if visible[view, point]
        ]
        values.append(sum(found) / len(found) if found else None)
    known = [(points[i], value) for i, value in enumerate(values) if value is not None]
    result = []
    for point, value in enumerate(values):
        if value is None:
            away = [float((place - points[point]).norm()) for place, _ in known]
            near = [v for (_, v), d in zip(known, away, strict=True) if d < min(away) + 1e-9]
            value = sum(near) / len(near)
        result.append(value)
    return result


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(1, 40),
    st.sampled_from([0.05, 0.3, 1.0]),
)
def test_it_equals_a_slow_loop(seed: int, views: int, count: int, seen: float) -> None:
    maps, pixel, visible, points = case(seed, views, count, seen)
    ours = back_project(maps, pixel, visible, points)
    assert ours.tolist() == pytest.approx(slow(maps, pixel, visible, points), abs=1e-12)


def test_several_maps_at_once_are_each_ones_own() -> None:
    maps, pixel, visible, points = case(0, 3, 50, 0.3)
    stacked = torch.stack([maps, maps**2, 1 - maps]).view(3, 1, 3, 7, 7)
    together = back_project(stacked, pixel, visible, points)
    assert together.shape == (3, 1, 50)
    for one, other in zip(stacked[:, 0], together[:, 0], strict=True):
        assert torch.equal(back_project(one, pixel, visible, points), other)


def test_gradients_reach_every_pixel_that_counts_and_no_other() -> None:
    maps, pixel, visible, points = case(1, 2, 12, 0.4)
    maps.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: back_project(m, pixel, visible, points), (maps,))
    (found,) = torch.autograd.grad(back_project(maps, pixel, visible, points).sum(), maps)
    used = torch.zeros_like(maps).flatten(1)
    used.scatter_reduce_(1, pixel, visible.double(), "amax")
    assert torch.equal(found.flatten(1) != 0, used > 0)
    assert float(found.sum()) == pytest.approx(12)


def test_an_unseen_point_takes_its_nearest_seen_neighbour_in_space_not_in_the_picture() -> None:
    points = np.array([[0.0, 0, 0], [10, 0, 0], [0, 0, 9], [9, 0, 9]])
    maps = torch.tensor([[[0.1, 0.9], [0.0, 0.0]]])
    pixel = torch.tensor([[0, 1, 1, 0]])
    visible = torch.tensor([[True, True, False, False]])
    assert back_project(maps, pixel, visible, points).tolist() == pytest.approx(
        [0.1, 0.9, 0.1, 0.9]
    )


def test_the_order_of_points_permutes_the_values() -> None:
    maps, pixel, visible, points = case(2, 3, 200, 0.1)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    one = back_project(maps, pixel, visible, points)
    other = back_project(maps, pixel[:, order], visible[:, order], points[order])
    assert torch.allclose(one[order], other, atol=1e-12)


def test_shares_of_neighbours_add_up_to_one() -> None:
    _, _, visible, points = case(3, 2, 100, 0.1)
    seen = visible.any(dim=0)
    nearest, share = nearest_seen(seen, points)
    assert len(nearest) == int((~seen).sum())
    assert bool(seen[nearest[share > 0]].all())
    assert torch.allclose(share.sum(dim=1), torch.ones(len(share), dtype=torch.float64))


def test_nothing_seen_is_refused() -> None:
    maps, pixel, visible, points = case(4, 2, 5, 0.5)
    with pytest.raises(ValueError, match="no view sees any point"):
        back_project(maps, pixel, torch.zeros_like(visible), points)


def test_published_point_probabilities_are_met() -> None:
    with np.load(PUBLISHED, allow_pickle=False) as arrays:
        place = torch.from_numpy(arrays["pixel_of_point"].astype(np.int64))
        maps = torch.from_numpy(arrays["gs_similarity_map"][..., 1])
        expected = torch.from_numpy(arrays["gs_point_probability"][0])
        points = arrays["points"][: place.shape[1]]
    column, row, visible = place.unbind(dim=-1)
    ours = back_project(maps, row * maps.shape[-1] + column, visible.bool(), points)
    assert float((ours - expected).norm() / expected.norm()) < 1e-4
