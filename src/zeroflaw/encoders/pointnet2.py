"""PointNet++ for semantic segmentation, as the common PyTorch port publishes it.

Source: Qi et al., "PointNet++" (NeurIPS 2017). Entry names are those of the port's checkpoint for
S3DIS (13 classes, 9 input channels). Sampling starts at the first point, not at a random one, so
that the same points always give the same features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.entries import load_entries, named_tensors, read_checkpoint, read_entries
from zeroflaw.encoders.sizes import MOST_POINTS, check_sizes
from zeroflaw.geometry.ball import ball_query
from zeroflaw.geometry.neighbors import knn_batch
from zeroflaw.geometry.sample import farthest_point_sample_batch

LEVELS = 4
NEAREST = 3  # coarse points that a finer one takes its features from
LEAST_SQUARE = 1e-8


@dataclass(frozen=True)
class PointNet2Config:
    """Sizes of a PointNet++; the defaults are the published ones.

    channels: of a point, its coordinates first. centers, radii: per level. neighbours: points of
    a ball. width: channels of the first layer, of which all others are multiples. classes: of the
    segmentation head, which features do not need.
    """

    channels: int = 9
    centers: tuple[int, int, int, int] = (1024, 256, 64, 16)
    radii: tuple[float, float, float, float] = (0.1, 0.2, 0.4, 0.8)
    neighbours: int = 32
    width: int = 32
    classes: int = 13

    def __post_init__(self) -> None:
        for name in ("centers", "radii"):  # lists, where the config comes from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_sizes(self, "neighbours", "classes")
        check_sizes(self, "width", largest=256)
        if not 3 <= self.channels <= 64:
            raise ValueError(f"channels is {self.channels}, expected 3 to 64")
        falling = all(more >= fewer for more, fewer in pairwise(self.centers))
        if not falling or self.centers[-1] < NEAREST or self.centers[0] > MOST_POINTS:
            raise ValueError(
                f"centers are {list(self.centers)}, expected falling numbers from {NEAREST} on"
            )
        if not all(0 < radius <= 2 for radius in self.radii):
            raise ValueError(f"radii are {list(self.radii)}, expected numbers above 0, up to 2")

    @staticmethod
    def small() -> PointNet2Config:
        """Return a compact one, for tests and for learning without a download."""
        return PointNet2Config(
            centers=(128, 48, 16, 8), radii=(0.2, 0.4, 0.8, 1.2), neighbours=16, width=8
        )

    @property
    def point_width(self) -> int:
        """Channels of a point's features."""
        return 4 * self.width

    @property
    def global_width(self) -> int:
        """Channels of the last level's features."""
        return 16 * self.width


@dataclass(frozen=True)
class PointNet2Features:
    """points: (B, N, 4 · width), one row per point. whole: (B, 16 · width), of the cloud."""

    points: Tensor
    whole: Tensor


class _Layers(nn.Module):
    """1×1 convolutions with batch norms and ReLUs, on rows of points.

    kernel: dimensions of the convolutions' kernels in the published file.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], kernel: int) -> None:
        super().__init__()
        make: type[nn.Conv1d | nn.Conv2d] = nn.Conv2d if kernel == 2 else nn.Conv1d
        pairs = list(pairwise((channels, *widths)))
        self.mlp_convs = nn.ModuleList(make(before, after, 1) for before, after in pairs)
        self.mlp_bns = nn.ModuleList(nn.BatchNorm1d(after) for after in widths)

    def forward(self, rows: Tensor) -> Tensor:
        """rows: (..., C). Returns (..., widths[-1])."""
        flat = rows.flatten(0, -2)
        for convolution, norm in zip(self.mlp_convs, self.mlp_bns, strict=True):
            flat = normed(convolution, norm, flat)
        return flat.view(*rows.shape[:-1], flat.shape[-1])


def normed(convolution: Any, norm: Any, rows: Tensor) -> Tensor:
    """Return ReLU(norm(convolution(rows))) of rows (R, C).

    In evaluation the norm is folded into the weights. In training a lone process without any row
    has no statistics to take; it uses the stored ones.
    """
    weight = convolution.weight.flatten(1)
    if norm.training and (len(rows) or type(norm) is not nn.BatchNorm1d):
        return functional.relu(norm(functional.linear(rows, weight, convolution.bias)))
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = (convolution.bias - norm.running_mean) * scale + norm.bias
    return functional.relu(functional.linear(rows, weight * scale[:, None], bias))


class PointNet2(nn.Module):
    """Four levels of balls around fewer and fewer centres, and back to all points."""

    def __init__(self, config: PointNet2Config | None = None) -> None:
        super().__init__()
        self.config = config = PointNet2Config() if config is None else config
        one, two, four, eight, sixteen = (config.width * factor for factor in (1, 2, 4, 8, 16))
        self.sa1 = _Layers(config.channels + 3, (one, one, two), 2)
        self.sa2 = _Layers(two + 3, (two, two, four), 2)
        self.sa3 = _Layers(four + 3, (four, four, eight), 2)
        self.sa4 = _Layers(eight + 3, (eight, eight, sixteen), 2)
        self.fp4 = _Layers(sixteen + eight, (eight, eight), 1)
        self.fp3 = _Layers(eight + four, (eight, eight), 1)
        self.fp2 = _Layers(eight + two, (eight, four), 1)
        self.fp1 = _Layers(four, (four, four, four), 1)
        self.conv1 = nn.Conv1d(four, four, 1)
        self.bn1 = nn.BatchNorm1d(four)
        self.drop1 = nn.Dropout(0.5)
        self.conv2 = nn.Conv1d(four, config.classes, 1)

    def forward(
        self, points: Tensor, groups: Mapping[str, Tensor] | None = None
    ) -> PointNet2Features:
        """points: (B, N, channels), xyz first. groups: what `group_points` returned for them."""
        places = points[..., :3]
        groups = group_points(places, self.config) if groups is None else groups
        levels = [points]
        for level in range(1, LEVELS + 1):
            center, ball = (groups[f"{name}{level}"].long() for name in ("center", "ball"))
            around = gather_rows(places, center)
            offset = gather_rows(places, ball) - around[:, :, None]
            rows = torch.cat([offset, gather_rows(levels[-1], ball)], dim=-1)
            levels.append(self.get_submodule(f"sa{level}")(rows).amax(dim=2))
            places = around
        found = levels[-1]
        for level in range(LEVELS, 0, -1):
            near, weight = groups[f"near{level}"].long(), groups[f"weight{level}"]
            spread = torch.einsum("bnk,bnkc->bnc", weight.to(found), gather_rows(found, near))
            rows = spread if level == 1 else torch.cat([levels[level - 1], spread], dim=-1)
            found = self.get_submodule(f"fp{level}")(rows)
        shape = found.shape
        found = normed(self.conv1, self.bn1, found.flatten(0, 1)).view(shape)
        return PointNet2Features(self.drop1(found), levels[-1].amax(dim=1))

    def segment(self, points: Tensor) -> Tensor:
        """Return the logits of the classes, (B, N, classes). points: as for `forward`."""
        found = self(points).points
        return functional.linear(found, self.conv2.weight.flatten(1), self.conv2.bias)


def group_points(
    points: Tensor, config: PointNet2Config, sampled: bool = False
) -> dict[str, Tensor]:
    """Return who is near whom on every level: all that depends on coordinates alone.

    points: (B, N, 3), in the unit sphere. sampled: they come in the order of farthest point
    sampling, so that the first ones are the centres. Returns, per level l from 1, center{l}
    (B, S) and ball{l} (B, S, K) int32 into the level before, near{l} (B, N, 3) int32 into this
    level and weight{l} (B, N, 3) of the points before. Raises ValueError where there are fewer
    points than centres.
    """
    groups: dict[str, Tensor] = {}
    for level, (count, radius) in enumerate(zip(config.centers, config.radii, strict=True), 1):
        if count > points.shape[1]:
            raise ValueError(f"{points.shape[1]} points are fewer than {count} centres")
        if sampled:
            center = torch.arange(count, device=points.device).expand(len(points), -1)
        else:
            center = farthest_point_sample_batch(points, count)
        around = gather_rows(points, center)
        ball = ball_query(points, around, radius, config.neighbours)
        distance, near = knn_batch(around, points, NEAREST)
        weight = 1 / (distance.square() + LEAST_SQUARE)
        weight = weight / weight.sum(dim=2, keepdim=True)
        named = {"center": center.int(), "ball": ball.int(), "near": near.int(), "weight": weight}
        groups |= {f"{name}{level}": tensor for name, tensor in named.items()}
        points = around
    return groups


def gather_rows(rows: Tensor, index: Tensor) -> Tensor:
    """rows: (B, N, C); index: (B, ...) int64 into the N. Returns (B, ..., C)."""
    flat = index.flatten(1)[..., None].expand(-1, -1, rows.shape[-1])
    return rows.gather(1, flat).view(*index.shape, rows.shape[-1])


def load_pointnet2(path: Path, config: PointNet2Config | None = None) -> PointNet2:
    """Return the frozen encoder from a checkpoint of the port.

    path: a torch file with `model_state_dict`, or safetensors. Raises ZeroflawError that names
    every entry that is missing, unexpected or differently shaped.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        entries = read_entries(path)
    else:
        content = read_checkpoint(path)
        entries = named_tensors(content.get("model_state_dict", content), path)
    encoder = PointNet2(config)
    load_entries(encoder, entries, path)
    return encoder.eval().requires_grad_(False)
