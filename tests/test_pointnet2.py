"""PointNet++: balls, levels, features that depend on nothing but the points, published files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.pointnet2 import (
    PointNet2,
    PointNet2Config,
    gather_rows,
    group_points,
    load_pointnet2,
)
from zeroflaw.geometry import ball
from zeroflaw.geometry.ball import ball_query
from zeroflaw.geometry.sample import farthest_point_sample_batch
from zeroflaw.types import ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = PointNet2Config.small()


def cloud(count: int = 300, batch: int = 2, seed: int = 0) -> Tensor:
    points = torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(points, dim=-1)


def encoder(seed: int = 0) -> PointNet2:
    """A small one whose norms are not those of a fresh module."""
    torch.manual_seed(seed)
    net = PointNet2(SMALL)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.get_buffer("running_mean").normal_(std=0.1)
            module.get_buffer("running_var").uniform_(0.5, 1.5)
    return net.eval()


@given(st.integers(0, 1000), st.integers(1, 12), st.floats(0.05, 1.5))
@settings(max_examples=25, deadline=None)
def test_a_ball_holds_the_first_points_by_index_and_repeats_its_first(
    seed: int, size: int, radius: float
) -> None:
    points = cloud(40, 2, seed)
    found = ball_query(points, points[:, :7], radius, size)
    for batch in range(2):
        for center in range(7):
            distance = (points[batch] - points[batch, center]).norm(dim=-1)
            inside = [n for n in range(40) if float(distance[n]) <= radius][:size]
            expected = inside + inside[:1] * (size - len(inside))
            assert found[batch, center].tolist() == expected


def test_slices_of_the_centres_give_the_same_balls(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud()
    whole = ball_query(points, points[:, :50], 0.3, 8)
    monkeypatch.setattr(ball, "BATCH_ENTRIES", 7 * points.shape[0] * points.shape[1])
    assert ball_query(points, points[:, :50], 0.3, 8).equal(whole)


def test_an_empty_ball_and_a_size_of_0_are_refused() -> None:
    with pytest.raises(ValueError, match="no point within"):
        ball_query(cloud(), torch.full((2, 1, 3), 5.0), 0.1, 4)
    with pytest.raises(ValueError, match="size"):
        ball_query(cloud(), cloud(), 0.1, 0)


def test_every_point_and_the_cloud_get_features() -> None:
    points = cloud()
    with torch.no_grad():
        found = encoder()(points.repeat(1, 1, 3))
    assert found.points.shape == (2, 300, SMALL.point_width)
    assert found.whole.shape == (2, SMALL.global_width)
    assert float(found.points.std(dim=1).max()) > 0
    assert float((found.whole[0] - found.whole[1]).abs().max()) > 0


def test_the_same_points_give_the_same_features_bit_for_bit_alone_or_in_a_batch() -> None:
    net, points = encoder(), cloud()
    inputs = points.repeat(1, 1, 3)
    with torch.no_grad():
        first, second, alone = net(inputs), net(inputs), net(inputs[1:])
    assert first.points.equal(second.points)
    torch.testing.assert_close(alone.points, first.points[1:])
    torch.testing.assert_close(alone.whole, first.whole[1:])


def test_points_in_sampling_order_bring_their_centres_first() -> None:
    points = cloud(batch=1)
    points = points[:, farthest_point_sample_batch(points, 300)[0]]
    known, found = group_points(points, SMALL, sampled=True), group_points(points, SMALL)
    assert known.keys() == found.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(known[name], tensor, msg=name)


def test_a_level_takes_the_maximum_over_its_balls_of_offsets_and_features() -> None:
    net, points = encoder(), cloud(batch=1)
    groups = group_points(points, SMALL)
    inputs = points.repeat(1, 1, 3)
    center, balls = groups["center1"][0].long(), groups["ball1"][0].long()
    expected = []
    for at, held in zip(center, balls, strict=True):
        rows = torch.cat([points[0, held] - points[0, at], inputs[0, held]], dim=-1)
        for convolution, norm in zip(net.sa1.mlp_convs, net.sa1.mlp_bns, strict=True):
            rows = convolution(rows.T[None, :, :, None])[0, :, :, 0].T
            rows = torch.relu(norm(rows))
        expected.append(rows.amax(dim=0))
    ours = torch.cat(
        [
            gather_rows(points, balls[None]) - gather_rows(points, center[None])[:, :, None],
            gather_rows(inputs, balls[None]),
        ],
        dim=-1,
    )
    with torch.no_grad():
        torch.testing.assert_close(net.sa1(ours).amax(dim=2)[0], torch.stack(expected))


def test_features_spread_by_the_inverse_square_of_the_distance() -> None:
    points = cloud(batch=1)
    groups = group_points(points, SMALL)
    near, weight = groups["near1"][0].long(), groups["weight1"][0]
    centers = points[0, groups["center1"][0].long()]
    for point in range(0, 300, 37):
        square = (points[0, point] - centers[near[point]]).square().sum(dim=-1)
        expected = 1 / (square + 1e-8)
        torch.testing.assert_close(weight[point], expected / expected.sum(), rtol=1e-3, atol=1e-4)


def test_training_normalises_by_the_batch_and_reaches_all_but_the_segmentation_head() -> None:
    net = encoder().train()
    before = net.bn1.get_buffer("running_mean").clone()
    found = net(cloud().repeat(1, 1, 3))
    torch.autograd.backward(found.points.square().sum() + found.whole.square().sum())
    assert not net.bn1.get_buffer("running_mean").equal(before)
    idle = [n for n, weight in net.named_parameters() if weight.grad is None]
    assert sorted(idle) == ["conv2.bias", "conv2.weight"]


def test_a_batch_may_be_empty_in_training_too() -> None:
    net = encoder().train()
    found = net(torch.zeros(0, 300, 9))
    assert found.points.shape == (0, 300, SMALL.point_width)
    assert found.whole.shape == (0, SMALL.global_width)
    assert bool(net.bn1.get_buffer("running_mean").isfinite().all())


def test_the_head_gives_a_logit_of_every_class() -> None:
    with torch.no_grad():
        assert encoder().segment(cloud().repeat(1, 1, 3)).shape == (2, 300, 13)


def test_copies_of_few_points_are_no_trouble() -> None:
    points = cloud(5, 1).repeat(1, 60, 1)
    with torch.no_grad():
        found = encoder()(points.repeat(1, 1, 3))
    assert bool(found.points.isfinite().all())


def test_fewer_points_than_centres_are_refused() -> None:
    with pytest.raises(ValueError, match="100 points are fewer than 128 centres"):
        group_points(cloud(100), SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centers": (8, 16, 8, 4)}, "centers"),
        ({"centers": (8, 8, 8, 2)}, "centers"),
        ({"radii": (0.1, 0.2, 0.4, 0.0)}, "radii"),
        ({"neighbours": 0}, "neighbours"),
        ({"channels": 2}, "channels"),
        ({"width": 0}, "width"),
    ],
)
def test_sizes_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("recent", [True, False])
def test_a_published_file_is_loaded_frozen_and_whole(tmp_path: Path, recent: bool) -> None:
    """Whatever layout of files PyTorch had in its day."""
    torch.manual_seed(1)
    net = PointNet2(SMALL)
    path = tmp_path / "best_model.pth"
    content = {"epoch": 3, "model_state_dict": net.state_dict(), "class_avg_iou": 0.5}
    torch.save(content, path, _use_new_zipfile_serialization=recent)
    loaded = load_pointnet2(path, SMALL)
    assert not any(weight.requires_grad for weight in loaded.parameters())
    for name, entry in net.state_dict().items():
        assert entry.equal(loaded.state_dict()[name]), name
    with pytest.raises(ZeroflawError, match=r"sa1\.mlp_convs\.0\.weight has shape"):
        load_pointnet2(path)
    entries = net.state_dict()
    del entries["fp1.mlp_bns.0.weight"]
    torch.save({"model_state_dict": entries}, path)
    with pytest.raises(ZeroflawError, match=r"missing fp1\.mlp_bns\.0\.weight"):
        load_pointnet2(path, SMALL)
