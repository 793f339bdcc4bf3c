"""Pictures of point clouds without a window system: z-buffer splatting and shading in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zeroflaw.geometry.cameras import FEW, Frame, View
from zeroflaw.types import Bool, Float32, Float64, Int64, UInt8

FAR = np.int64(2**62)
DEPTH_STEPS = 2**29
LIGHT = np.array([-0.35, 0.5, 0.79], dtype=np.float32)  # from the upper left, toward the viewer
OVERLAP = 1.6  # disc radius by the distance of neighbours: closes random samples of two surfaces
AMBIENT = np.float32(0.5)  # how bright a surface is that the light does not reach
GLOSS = np.float32(48)  # added where the surface faces the light: shows form on dark colours
WHITE = 255
EMPTY = 1e9  # depth of the background, in pixels
STEEPEST = 6.0  # pixels of depth for one across, above which two pixels lie on two surfaces


@dataclass(frozen=True, eq=False)
class Rendered:
    """image: (H, W, 3) uint8. index: (H, W) int64, the point that each pixel shows, or -1."""

    image: UInt8
    index: Int64


def render(
    points: Float64 | Float32,
    colors: UInt8,
    view: View,
    frame: Frame,
    pixels_per_unit: float,
    radius: float | None = None,
) -> Rendered:
    """What one orthographic view shows of coloured points, as a closed and shaded surface.

    points: (N, 3), any unit; colors: (N, 3). The picture has `frame`'s size times
    `pixels_per_unit`. radius: of the discs that the points are drawn as, in pixels; by default
    `closing_radius`.
    """
    if radius is None:
        radius = closing_radius(points, [view], frame, pixels_per_unit)
    row, column, depth = project(points, view, frame, pixels_per_unit)
    size = picture_size(frame, pixels_per_unit)
    used = _used(row, size, 0, radius), _used(column, size, 1, radius)
    row -= used[0].start
    column -= used[1].start
    reach = np.float32(2 * sum(size))  # a stray point far behind does not flatten the rest
    np.clip(depth, -reach, reach, out=depth)
    inner = used[0].stop - used[0].start, used[1].stop - used[1].start
    part, surface = splat(row, column, depth, inner, radius)
    drawn = part >= 0
    diffuse = shade(surface, drawn, radius)[drawn]
    squared = diffuse * diffuse
    lit = colors[part[drawn]].astype(np.float32)
    lit *= (AMBIENT + (1 - AMBIENT) * diffuse)[:, None]
    lit += (GLOSS * squared * squared)[:, None]
    image = np.full((*size, 3), WHITE, dtype=np.uint8)
    image[used][drawn] = np.minimum(lit, 255, out=lit).astype(np.uint8)
    index = np.full(size, -1, dtype=np.int64)
    index[used] = part
    return Rendered(image, index)


def _used(place: Int64, size: tuple[int, int], axis: int, radius: float) -> slice:
    """The rows or columns of the picture that discs at these places reach."""
    border = int(np.ceil(radius)) + 1
    low, high = int(place.min()) - border, int(place.max()) + border + 1
    return slice(max(low, 0), max(min(high, size[axis]), 1))


def picture_size(frame: Frame, pixels_per_unit: float) -> tuple[int, int]:
    """Height and width in pixels."""
    sides = (frame.height, frame.width)
    height, width = (max(1, round(side * pixels_per_unit)) for side in sides)
    return height, width


def project(
    points: Float64 | Float32, view: View, frame: Frame, pixels_per_unit: float
) -> tuple[Int64, Int64, Float32]:
    """Row, column and depth (N,) of the points, in pixels; depth grows away from the viewer.

    Points outside the picture have a row or column just outside it.
    """
    height, width = picture_size(frame, pixels_per_unit)
    rotation = (view.rotation * pixels_per_unit).astype(np.float32)
    right, up, toward = rotation @ centered(points, frame).T
    right += np.float32(width / 2 + 1)  # so that cutting off the fraction rounds down
    down = np.subtract(np.float32(height / 2 + 1), up, out=up)
    row = np.clip(down, 0, height + 1, out=down).astype(np.int64)
    column = np.clip(right, 0, width + 1, out=right).astype(np.int64)
    row -= 1
    column -= 1
    return row, column, np.negative(toward, out=toward)


def centered(points: Float64 | Float32, frame: Frame) -> Float32:
    """The points relative to the frame's centre; at a centre of 0, float32 points as they are."""
    local = points - frame.center if frame.center.any() else points
    return local.astype(np.float32, copy=False)


def splat(
    row: Int64, column: Int64, depth: Float32, size: tuple[int, int], radius: float
) -> tuple[Int64, Float32]:
    """The nearest point at every pixel: (H, W) indices, -1 where there is none, and their depth.

    row, column, depth: (N,), in pixels, smaller depth nearer. Every point is drawn as a disc that
    bulges toward the viewer, so that where discs meet, the pixel goes to the nearer centre. Points
    outside the picture are left out.
    """
    height, width = size
    kept = np.flatnonzero((column >= 0) & (column < width) & (row >= 0) & (row < height))
    if len(kept) < len(row):
        row, column, depth = row[kept], column[kept], depth[kept]
    border = int(np.ceil(radius))
    wide = width + 2 * border
    nearest = np.full((height + 2 * border) * wide, FAR)
    if len(kept):
        near, scale = _depth_scale(depth, radius)
        cell = row * wide
        cell += column
        cell += border * (wide + 1)
        packed = ((depth - near) * scale).astype(np.int64)
        packed <<= 32
        packed |= kept
        place, lifted = np.empty_like(cell), np.empty_like(packed)
        for down, right in disc(radius):
            bulge = (down * down + right * right) / (2 * max(radius, 1.0))
            np.add(cell, down * wide + right, out=place)
            np.add(packed, int(bulge * scale) << 32, out=lifted)
            np.minimum.at(nearest, place, lifted)
        tolerance = int(4 * max(radius, 1) * scale)
        for stride in sorted({1, max(1, round(radius))}, reverse=True):
            close_gaps(nearest.reshape(-1, wide), tolerance, stride)
    nearest = nearest.reshape(-1, wide)[border : border + height, border : border + width]
    hit = nearest < FAR
    index = np.where(hit, nearest & 0xFFFFFFFF, -1)
    if not len(kept):
        return index, np.zeros(size, dtype=np.float32)
    distance = ((nearest >> 32).astype(np.float32) / scale + near).astype(np.float32)
    return index, np.where(hit, distance, np.float32(0))


def close_gaps(nearest: Int64, tolerance: int, stride: int) -> None:
    """Close, in place, the gaps through which the background or a far surface shows.

    nearest: the z-buffer. A pixel takes the nearest of the 8 that lie `stride` away from it where
    at least 6 of them are nearer by more than `tolerance` steps of depth.
    """
    height, width = nearest.shape
    steps = (nearest >> 32).astype(np.int32)
    limit = steps[stride : height - stride, stride : width - stride] - np.int32(tolerance)
    # Where 6 of 8 are nearer, so are both of an opposite pair.
    beside = steps[stride : height - stride]
    above = steps[:, stride : width - stride]
    gap = (beside[:, : width - 2 * stride] < limit) & (beside[:, 2 * stride :] < limit)
    gap |= (above[: height - 2 * stride] < limit) & (above[2 * stride :] < limit)
    row, column = np.nonzero(gap)
    ring = [(d, r) for d in (0, stride, 2 * stride) for r in (0, stride, 2 * stride)]
    ring.remove((stride, stride))
    around = np.stack([nearest[row + down, column + right] for down, right in ring])
    closed = np.count_nonzero((around >> 32) < limit[row, column], axis=0) >= 6
    nearest[row[closed] + stride, column[closed] + stride] = around[:, closed].min(axis=0)


def _depth_scale(depth: Float32, radius: float) -> tuple[np.float32, np.float32]:
    """The nearest depth and how many steps of the buffer go on one pixel of depth."""
    near, far = float(depth.min()), float(depth.max())
    return np.float32(near), np.float32(DEPTH_STEPS / max(far - near + radius, 16 * radius, 16))


def closing_radius(
    points: Float64 | Float32, views: Sequence[View], frame: Frame, pixels_per_unit: float
) -> float:
    """The radius in pixels at which discs on the points close the surface they lie on.

    One for all views, so that they look alike: from the middle one of the areas that the views
    show. An area is read off the finest grid of cells that a sample of the points fills.
    """
    few = points[:: max(1, len(points) // FEW)]
    size = picture_size(frame, pixels_per_unit)
    areas = [_area(*project(few, view, frame, pixels_per_unit)[:2], size) for view in views]
    return float(np.clip(OVERLAP * np.sqrt(np.median(areas) / len(points)), 0.5, max(size) / 12))


def _area(row: Int64, column: Int64, size: tuple[int, int]) -> int:
    """About how many pixels the surface covers that these points are a sample of."""
    kept = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    row, column, cell = row[kept], column[kept], 1
    filled = _cells(row, column, size, 1)
    while True:
        wider = _cells(row, column, size, 2 * cell)
        if filled > 0.7 * 4 * wider or cell > max(size) / 12:
            return wider * 4 * cell * cell
        cell, filled = 2 * cell, wider


def _cells(row: Int64, column: Int64, size: tuple[int, int], cell: int) -> int:
    wide = -(-size[1] // cell)
    occupied = np.zeros(wide * -(-size[0] // cell), dtype=bool)
    occupied[(row // cell) * wide + column // cell] = True
    return int(np.count_nonzero(occupied))


def disc(radius: float) -> list[tuple[int, int]]:
    """Offsets (down, right) of the pixels in a disc, its middle among them."""
    reach = int(np.floor(radius))
    steps = range(-reach, reach + 1)
    limit = (radius + 0.25) ** 2
    return [(down, right) for down in steps for right in steps if down**2 + right**2 <= limit]


def shade(depth: Float32, drawn: Bool, radius: float = 1.0) -> Float32:
    """How much of the light every pixel gets, 0 to 1, by the normals of the smoothed depth image.

    depth: (H, W) in pixels; drawn: (H, W), where there is a surface; radius: of the discs that it
    was drawn with, the length over which depth is smoothed.
    """
    surface = np.where(drawn, depth, np.float32(EMPTY))
    stride = max(1, int(radius))
    while True:
        _smooth(surface, stride)
        _smooth(surface, stride)
        if stride == 1:
            break
        stride //= 2
    slope_x, slope_y = _slope(surface), _slope(surface.T).T
    length = np.sqrt(slope_x * slope_x + slope_y * slope_y + np.float32(1))
    # Depth grows away from the viewer and rows grow downward: the normal is (dx, -dy, 1).
    facing = (LIGHT[0] * slope_x - LIGHT[1] * slope_y + LIGHT[2]) / length
    light: Float32 = np.clip(facing, 0, 1)
    return light


def _steps(surface: Float32, stride: int) -> Float32:
    """Differences along the columns, 0 across the edge of a surface."""
    step = surface[:, stride:] - surface[:, :-stride]
    step[np.abs(step) > STEEPEST * stride] = 0
    return step


def _smooth(surface: Float32, stride: int) -> None:
    """One step of diffusion, in place, that does not cross the edges of surfaces."""
    for view in (surface, surface.T):
        if view.shape[1] > stride:
            step = _steps(view, stride)
            step *= np.float32(0.25)
            view[:, :-stride] += step
            view[:, stride:] -= step


def _slope(surface: Float32) -> Float32:
    """Slope along the columns: the mean of both sides' differences."""
    slope = np.zeros_like(surface)
    step = _steps(surface, 1)
    step *= np.float32(0.5)
    slope[:, :-1] += step
    slope[:, 1:] += step
    return slope
