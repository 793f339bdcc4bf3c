"""Losses and scoring rules, against slow, obvious versions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zeroflaw.methods.losses import dice_loss, focal_loss, geometric_loss, object_loss
from zeroflaw.methods.scoring import combine_object, global_logit, point_mean, to_full_resolution

SEEDS = st.integers(0, 10_000)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_focal_loss_is_the_formula_of_each_point(seed: int) -> None:
    logits, target = draw(seed, 2, 7), (draw(seed + 1, 2, 7) > 0).float()
    terms = []
    for logit, label in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        right = 1 / (1 + math.exp(-logit if label else logit))
        terms.append(-(0.25 if label else 0.75) * (1 - right) ** 2 * math.log(right))
    assert float(focal_loss(logits, target)) == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_dice_loss_is_0_for_a_perfect_and_1_for_an_opposite_answer() -> None:
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert float(dice_loss(target, target)) == pytest.approx(0, abs=1e-5)
    assert float(dice_loss(1 - target, target)) == pytest.approx(1, abs=1e-5)


def test_dice_loss_counts_every_cloud_alike() -> None:
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    answer = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert float(dice_loss(answer, target)) == pytest.approx(0.5, abs=1e-5)


def test_geometric_loss_is_lowest_where_each_patch_resembles_its_own() -> None:
    descriptor = torch.eye(6).view(2, 3, 6)
    own = geometric_loss(descriptor, descriptor)
    other = geometric_loss(descriptor, descriptor.roll(1, dims=1))
    assert own < 0.01 < 1 < other


def test_object_loss_falls_with_the_right_answer() -> None:
    target = torch.tensor([1.0, 0.0])
    assert object_loss(torch.tensor([3.0, -3.0]), target) < object_loss(torch.zeros(2), target)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_point_takes_the_mean_of_its_patches_or_its_nearest_held_point(seed: int) -> None:
    points, patch = draw(seed, 2, 9, 3), draw(seed + 1, 2, 4)
    index = torch.randint(0, 9, (2, 4, 3), generator=torch.Generator().manual_seed(seed))
    ours = point_mean(patch, index, points)
    for cloud in range(2):
        mean = {}
        for point in range(9):
            held = [float(patch[cloud, g]) for g in range(4) for i in index[cloud, g] if i == point]
            if held:
                mean[point] = sum(held) / len(held)
        for point in range(9):
            distance = {p: float((points[cloud, p] - points[cloud, point]).norm()) for p in mean}
            source = min(distance, key=lambda p: distance[p])
            assert float(ours[cloud, point]) == pytest.approx(mean[source], abs=1e-5)


def test_gradients_reach_the_patches_through_points_that_no_patch_holds() -> None:
    patch = torch.zeros(1, 1, requires_grad=True)
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]])
    torch.autograd.backward(point_mean(patch, torch.tensor([[[0, 1]]]), points)[0, 2])
    assert patch.grad is not None
    assert float(patch.grad) == 1


def test_the_global_logit_is_positive_where_the_scan_resembles_the_second_text() -> None:
    text = torch.eye(2)
    logits = global_logit(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), text)
    torch.testing.assert_close(logits, torch.tensor([-1.0, 1.0]) / 0.07)


def test_object_rules() -> None:
    patch = torch.linspace(0, 1, 11)[None]
    whole = torch.tensor([0.5])
    assert float(combine_object(whole, patch, rule="max")) == pytest.approx(0.75)
    assert float(combine_object(whole, patch, rule="top")) == pytest.approx(0.25 + 0.5 * 0.95)
    assert float(combine_object(whole, patch, alpha=1.0)) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="mean"):
        combine_object(whole, patch, rule="mean")  # type: ignore[arg-type]


def test_every_point_of_the_scan_gets_a_score_and_scored_points_keep_theirs() -> None:
    known = draw(0, 20, 3).double().numpy()
    values = torch.linspace(0, 1, 20)
    torch.testing.assert_close(to_full_resolution(known, values, known), values)
    torch.testing.assert_close(to_full_resolution(known, values, known, "nearest"), values)
    middle = to_full_resolution(known, values, draw(1, 50, 3).double().numpy())
    assert middle.shape == (50,)
    assert 0 <= float(middle.min()) <= float(middle.max()) <= 1
