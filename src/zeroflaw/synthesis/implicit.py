"""Solids from signed distances: blended with fillets, then meshed by surface nets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zeroflaw.synthesis.shapes import Int32, Mesh
from zeroflaw.types import Float32, Float64

Field = Callable[[Float32], Float32]
"""Signed distance, (3, N) places to (N,), negative inside."""

CELLS = 72  # along the longest side of the box


def _column(numbers: Float64) -> Float32:
    """Three numbers as a (3, 1) column."""
    return np.asarray(numbers, np.float32)[:, None]


def ball(center: Float64, radii: Float64) -> Field:
    """An ellipsoid with radii along the axes, its distance about right near the surface."""
    middle, size = _column(center), _column(radii)

    def distance(at: Float32) -> Float32:
        scaled = (at - middle) / size
        length = np.sqrt((scaled * scaled).sum(axis=0))
        return np.asarray((length - 1) * np.float32(np.min(radii)), np.float32)

    return distance


def capsule(start: Float64, end: Float64, radius: float, taper: float = 1.0) -> Field:
    """A rod with round ends. taper: the radius at its end relative to that at its start."""
    first, along = _column(start), _column(end - start)
    square = np.float32(max(float((along * along).sum()), 1e-9))

    def distance(at: Float32) -> Float32:
        offset = at - first
        t = np.clip((offset * along).sum(axis=0) / square, 0, 1)
        away = offset - along * t
        thick = np.float32(radius) * (1 + np.float32(taper - 1) * t)
        return np.asarray(np.sqrt((away * away).sum(axis=0)) - thick, np.float32)

    return distance


def block(center: Float64, half: Float64, edge: float, draft: float = 0.0) -> Field:
    """A box with rounded edges. draft: how much narrower it gets per unit of height (z)."""
    middle, size = _column(center), _column(half)

    def distance(at: Float32) -> Float32:
        offset = at - middle
        slim = size * np.ones_like(offset)
        slim[:2] -= np.float32(draft) * (offset[2] + size[2])
        beyond = np.abs(offset) - slim + np.float32(edge)
        outside = np.sqrt((np.maximum(beyond, 0) ** 2).sum(axis=0))
        inside = np.minimum(beyond.max(axis=0), 0)
        return np.asarray(outside + inside - np.float32(edge), np.float32)

    return distance


def rod(center: Float64, axis: int, radius: float, half: float) -> Field:
    """A cylinder along an axis, `half` long to either side."""
    middle = _column(center)
    others = [i for i in range(3) if i != axis]

    def distance(at: Float32) -> Float32:
        offset = at - middle
        across = np.hypot(offset[others[0]], offset[others[1]]) - np.float32(radius)
        along = np.abs(offset[axis]) - np.float32(half)
        outside = np.hypot(np.maximum(across, 0), np.maximum(along, 0))
        return np.asarray(outside + np.minimum(np.maximum(across, along), 0), np.float32)

    return distance


def merged(fields: list[Field], fillet: float) -> Field:
    """The union, its inner corners filled over about the width `fillet`."""
    width = np.float32(max(fillet, 1e-4))

    def distance(at: Float32) -> Float32:
        total = fields[0](at)
        for field in fields[1:]:
            other = field(at)
            blend = np.maximum(width - np.abs(total - other), 0) / width
            total = np.minimum(total, other) - blend * blend * width / 4
        return total

    return distance


def without(body: Field, tools: list[Field]) -> Field:
    """The body less what the tools take away."""

    def distance(at: Float32) -> Float32:
        total = body(at)
        for tool in tools:
            total = np.maximum(total, -tool(at))
        return total

    return distance


def meshed(field: Field, low: Float64, high: Float64, cells: int = CELLS) -> Mesh:
    """The surface where the field is 0 within a box, as quads cut in two (surface nets).

    low, high: (3,). Each cell that the surface crosses gets one vertex, the mean of the crossings
    of its edges; quads join the four cells around each crossed edge, facing outwards.
    """
    step = float(np.max(np.subtract(high, low))) / cells
    counts = np.ceil(np.subtract(high, low) / step).astype(int) + 3
    axes = [low[i] - step + step * np.arange(counts[i]) for i in range(3)]
    places = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1).astype(np.float32)
    value = field(places).reshape(counts)
    value[np.abs(value) < 1e-6] = 1e-6
    total, number = np.zeros((*(counts - 1), 3), np.float32), np.zeros(counts - 1, np.int32)
    quads = []
    for axis in range(3):
        crossing = np.argwhere(_along(value, axis, 0) * _along(value, axis, 1) < 0)
        crossing[:, [i for i in range(3) if i != axis]] += 1
        start = value[tuple(crossing.T)]
        end = value[tuple((crossing + np.eye(3, dtype=int)[axis]).T)]
        where = crossing.astype(np.float32)
        where[:, axis] += start / (start - end)
        u, v = (axis + 1) % 3, (axis + 2) % 3
        ring = []
        for du, dv in ((0, 0), (1, 0), (1, 1), (0, 1)):
            cell = crossing.copy()
            cell[:, u] -= du
            cell[:, v] -= dv
            at = tuple(cell.T)
            np.add.at(total, at, where)
            np.add.at(number, at, 1)
            ring.append(np.ravel_multi_index(at, tuple(counts - 1)))
        quad = np.stack(ring, axis=1)
        quads.append(np.where((start < 0)[:, None], quad, quad[:, ::-1]))
    used = np.flatnonzero(number)
    vertices = total.reshape(-1, 3)[used] / number.reshape(-1)[used, None]
    place = np.zeros(number.size, np.int32)
    place[used] = np.arange(len(used))
    corner = place[np.concatenate(quads)]
    faces: Int32 = np.concatenate([corner[:, [0, 1, 2]], corner[:, [0, 2, 3]]])
    return np.asarray(vertices * step + (np.asarray(low) - step), np.float64), faces


def _along(value: Float32, axis: int, shift: int) -> Float32:
    """The values at the starts (shift 0) or ends (shift 1) of the edges along an axis.

    Edges on the outermost faces are left out.
    """
    kept = [slice(1, -1)] * 3
    kept[axis] = slice(0, -1) if shift == 0 else slice(1, None)
    return value[tuple(kept)]
