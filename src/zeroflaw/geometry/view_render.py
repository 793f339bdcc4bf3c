"""Grey and depth pictures of a scan from many sides, and where every point lies in them.

What view-based detectors read. A point is drawn as a small square, as window systems draw it, and
a z-buffer keeps the nearest at every pixel. One code in torch runs on CPU and GPU. Pictures are
made of minima alone, so they depend neither on the order of the points nor on chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroflaw.geometry.view_frame import in_pixels, view_normals
from zeroflaw.geometry.zbuffer import (
    BITS,
    COSINES,
    EMPTY,
    bulge,
    closed,
    depth_steps,
    hidden_depth,
    spread_of,
    widened,
)

BRIGHTEST = 0.7 * 2 * 0.66  # grey of the points × Open3D's two lights at the camera, each 0.66
LEAST_SIZE = 8
# Points at a time on the CPU: what fits its cache, and small enough for torch to leave it to one
# thread, for on busy cores threads spend longer waiting for each other than at work.
_BLOCK = 1 << 15
_BLOCK_ELSEWHERE = 1 << 22
_COUNT = 40  # bits below a pixel's number of points, for the sum of their cosines
_ONE = 1 << _COUNT


@dataclass(frozen=True, eq=False)
class Views:
    """Pictures of one scan from V sides, S pixels wide and high, and its N points in them.

    shade: (V, S, S) float32, grey in [0, 1], white background. depth: (V, S, S) float32, near = 1,
    far = 0, background 1. pixel: (V, N) int64, row · S + column of every point; of one outside the
    picture, the nearest pixel. visible: (V, N) bool, whether nothing lies before the point.
    """

    shade: Tensor
    depth: Tensor
    pixel: Tensor
    visible: Tensor


def render_views(
    points: Tensor | NDArray[Any],
    rotations: Tensor | NDArray[Any],
    size: int = 336,
    normals: Tensor | NDArray[Any] | None = None,
    device: str | torch.device = "cpu",
) -> Views:
    """Show a scan from the sides that rotations turn toward the viewer.

    points: (N, 3), finite, any unit, N ≥ 1; rotations: (V, 3, 3), rows right, up, toward the
    viewer; size: S, pixels; normals: (N, 3), up to sign, by default `view_normals`. Cameras
    are orthographic; one scale fits the scan into all views (`in_pixels`), so that moving or
    scaling it changes nothing. Raises ScanError for points that cannot be shown.

    Grey is Open3D's, in whose window the papers' pictures were made: points of grey 0.7 in the
    light of two lamps of 0.66 at the camera, 0.7 · 1.32 · |cos| of the angle between normal and
    line of sight. Its highlights are left out: they turn the surface white like the background.
    Points are at least as large as there, 12 pixels of 1024, and larger where they lie so thin that
    the background would show between them. Depth runs over the range that a view shows, which is
    taken for at least one pixel's width, so that a flat front's rounding does not fill it.
    """
    turns = torch.as_tensor(rotations, dtype=torch.float64).cpu()
    if turns.ndim != 3 or turns.shape[1:] != (3, 3) or len(turns) == 0:
        raise ValueError(f"rotations have shape {tuple(turns.shape)}, expected (V, 3, 3)")
    if size < LEAST_SIZE:
        raise ValueError(f"views of {size} pixels show nothing; take {LEAST_SIZE} or more")
    place, deep = in_pixels(points, turns, size, device)
    facing = _facing(points, normals, place)
    scale = depth_steps(deep, size)
    keys, pixel = _projected(place, facing, turns.tolist(), size, deep, scale)
    surface = _nearest(keys, pixel, size, scale)
    spread = spread_of(surface)
    surface = closed(widened(surface, bulge(spread.splat, scale)), spread, scale)
    visible = torch.empty(keys.shape, dtype=torch.bool, device=keys.device)
    allowed = hidden_depth(spread.splat, scale).to(keys.device)
    for view, at in _blocks(keys):
        visible[view, at] = _shown(keys[view, at], pixel[view, at], surface[view], allowed)
    return Views(*_pictures(surface, scale), pixel, visible)


def projected_mask(views: Views, labels: Tensor | NDArray[Any]) -> Tensor:
    """Where the views show labelled points.

    labels: (N,), True where the surface is defective. Returns (V, S, S) bool: a pixel that shows
    the scan takes the label of the visible point nearest to it in the picture, among several as
    near the labelled one's; the background is False. A view in which no labelled point is visible
    has an empty mask.
    """
    count, size = len(views.shade), views.shade.shape[-1]
    device = views.shade.device
    chosen = torch.as_tensor(labels).to(device=device, dtype=torch.bool)
    if chosen.shape != views.visible.shape[1:]:
        raise ValueError(f"{tuple(chosen.shape)} labels for {views.visible.shape[1]} points")
    seeds = torch.full((count, size * size), EMPTY, dtype=torch.int32, device=device)
    other = (~chosen).to(torch.int32)
    for row, seen, where in zip(seeds, views.visible, views.pixel, strict=True):
        row.scatter_reduce_(0, where[seen], other[seen], "amin")
    seeds = seeds.view(count, size, size)
    shown = views.shade < 1
    reach = 1
    while reach < size and bool((shown & (_nearby(seeds, reach) == EMPTY)).any()):
        reach *= 2
    # Another point may be nearer than one at the corner of the square, but not beyond this.
    nearest = _nearby(seeds, math.ceil(reach * 2**0.5))
    return shown.logical_and_(nearest < EMPTY).logical_and_(nearest % 2 == 0)


def _nearby(seeds: Tensor, reach: int) -> Tensor:
    """The seed nearest to each pixel: its lowest bit, and above it the squared distance."""
    return widened(seeds, [2 * step * step for step in range(reach + 1)])


def _facing(
    points: Tensor | NDArray[Any], normals: Tensor | NDArray[Any] | None, place: Tensor
) -> Tensor:
    """Unit normals, (3, N) float32, a row for each coordinate."""
    if normals is None:
        normals = view_normals(torch.as_tensor(points).detach().cpu().numpy())
    facing = torch.as_tensor(normals).to(device=place.device, dtype=torch.float32)
    if facing.shape != (place.shape[1], 3):
        raise ValueError(f"normals have shape {tuple(facing.shape)}, not ({place.shape[1]}, 3)")
    return facing.T.contiguous()


def _projected(
    place: Tensor,
    facing: Tensor,
    turns: list[list[list[float]]],
    size: int,
    deep: float,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Every point's number in the z-buffer, EMPTY outside the picture, and its pixel; (V, N)."""
    count = place.shape[1]
    keys = torch.empty((len(turns), count), dtype=torch.int32, device=place.device)
    pixel = torch.empty((len(turns), count), dtype=torch.int64, device=place.device)
    for view, at in _blocks(keys):
        position, normal, (right, up, toward) = place[:, at], facing[:, at], turns[view]
        column = _along(position, right).add_(size / 2).floor_()
        row = _along(position, up).neg_().add_(size / 2).floor_()
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        row.clamp_(0, size - 1).mul_(size).add_(column.clamp_(0, size - 1))
        pixel[view, at] = row  # exact in float32 up to 4096² pixels
        depth = _along(position, toward).neg_().add_(deep).clamp_(0, 2 * deep).mul_(scale)
        cosine = _along(normal, toward).abs_().mul_(COSINES - 1).add_(0.5)
        key = depth.int().bitwise_left_shift_(BITS).bitwise_or_(cosine.int())
        keys[view, at] = key.masked_fill_(~inside, EMPTY)
    return keys, pixel


def _along(columns: Tensor, axis: list[float]) -> Tensor:
    """Products with an axis, (N,), rounded alike wherever in memory a point lies."""
    x, y, z = axis
    return (columns[0] * x).add_(columns[1] * y).add_(columns[2] * z)


def _nearest(keys: Tensor, pixel: Tensor, size: int, scale: float) -> Tensor:
    """The z-buffer of single points, (V, S, S).

    A pixel takes the depth of its nearest point and the mean cosine of all on the same surface, as
    in a large picture made small. Sums are of integers, hence equal in any order.
    """
    depth = torch.full((len(keys), size * size), EMPTY, dtype=torch.int32, device=keys.device)
    for view, at in _blocks(keys):
        depth[view].scatter_reduce_(0, pixel[view, at], keys[view, at], "amin")
    sums = torch.zeros(depth.shape, dtype=torch.int64, device=keys.device)
    allowed = hidden_depth(0, scale).to(keys.device)
    for view, at in _blocks(keys):
        key, where = keys[view, at], pixel[view, at]
        shown = _shown(key, where, depth[view], allowed)
        sums[view].scatter_add_(0, where, ((key & (COSINES - 1)).long() + _ONE) * shown)
    count = (sums >> _COUNT).clamp_min_(1).double()
    cosine = (sums & (_ONE - 1)).double().div_(count).add_(0.5).int()
    mean = (depth & -COSINES) | cosine
    return torch.where(depth == EMPTY, EMPTY, mean).view(-1, size, size)


def _shown(keys: Tensor, pixel: Tensor, surface: Tensor, allowed: Tensor) -> Tensor:
    """Whether points lie on the surface that their pixels show in one view, (N,).

    surface: z-buffer; allowed: `hidden_depth`.
    """
    behind = (keys >> BITS) - (surface.view(-1)[pixel] >> BITS)
    return (behind <= allowed[keys & (COSINES - 1)]).logical_and_(keys < EMPTY)


def _blocks(keys: Tensor) -> Iterator[tuple[int, slice]]:
    """Views, and points to handle at a time."""
    block = _BLOCK if keys.device.type == "cpu" else _BLOCK_ELSEWHERE
    for view in range(len(keys)):
        for begin in range(0, keys.shape[1], block):
            yield view, slice(begin, begin + block)


def _pictures(surface: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Shade and depth, (V, S, S) each."""
    empty = surface == EMPTY
    cosine = (surface & (COSINES - 1)).float()
    shade = torch.where(empty, 1.0, cosine.mul_(BRIGHTEST / (COSINES - 1)))
    depth = (surface >> BITS).float()
    near = depth.amin(dim=(1, 2), keepdim=True)
    far = torch.where(empty, near, depth).amax(dim=(1, 2), keepdim=True)
    depth = 1 - (depth - near) / (far - near).clamp_min(scale)
    return shade, torch.where(empty, 1.0, depth)
