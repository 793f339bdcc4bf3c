"""What a scanner sees of a part: the side it looks at, less what is hidden, with its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zeroflaw.types import Bool, Float32, Int64

PIXEL_SPACINGS = 2.6
"""Edge of a depth-buffer cell in point spacings: some seven points fall on a sheet in it."""

MOST_SLACK = np.float32(3)


@dataclass(frozen=True, eq=False)
class Sensor:
    """One scanner's settings for one scan; lengths in diagonals of the part.

    eyes: (E, 3), the viewpoints. noise: sigma along the viewing ray. steepest: least cosine of
    incidence that still returns a point. even: 0 where density follows the pixel grid, 1 where it
    is the same on every slope. waves: (W, 5), a slow random field of density and of dropouts.
    dropout: how strongly steep places are lost in patches. outliers: share of stray points.
    turns, shifts: (E, 3), how each view is registered wrongly, as a small rotation vector about the
    middle and a shift. step: of the measured distances, which are multiples of it; 0 for any.
    """

    eyes: Float32
    noise: float
    steepest: float
    even: float
    unevenness: float
    dropout: float
    outliers: float
    waves: Float32
    turns: Float32
    shifts: Float32
    step: float

    @property
    def uncertainty(self) -> float:
        """How far a point may well lie from the surface: noise, registration or distance steps."""
        shift = np.square(self.turns).mean() / 4 + np.square(self.shifts).mean()
        return max(self.noise, float(np.sqrt(shift)), self.step / 2)


@dataclass(frozen=True, eq=False)
class Sight:
    """Which points are seen. index: (V,) int64; ray: (V, 3) float32, unit, point to viewer."""

    index: Int64
    ray: Float32


def random_sensor(rng: np.random.Generator, one_sided: bool, noise: tuple[float, float]) -> Sensor:
    """A scanner of random quality that looks from one place or from all around."""
    eyes = _viewpoints(1 if one_sided else int(rng.integers(7, 10)), rng)
    error = 10 ** rng.uniform(-4.0, -2.7) if len(eyes) > 1 and rng.random() < 0.5 else 0.0
    sigma = 0.0 if rng.random() < 0.1 else float(np.exp(rng.uniform(*np.log(noise))))
    waves = np.concatenate(
        [
            rng.normal(size=(6, 3)) * rng.uniform(2.0, 9.0, (6, 1)),
            rng.uniform(0, 2 * np.pi, (6, 2)),
        ],
        axis=1,
    ).astype(np.float32)
    return Sensor(
        eyes=eyes,
        noise=sigma,
        steepest=float(rng.uniform(0.08, 0.25)),
        even=float(rng.uniform(0.0, 1.0) if one_sided else rng.uniform(0.6, 1.0)),
        unevenness=float(rng.uniform(0.0, 0.35)),
        dropout=float(rng.uniform(0.0, 0.5) if rng.random() < 0.5 else 0.0),
        outliers=float(10 ** rng.uniform(-4.5, -2.7) if rng.random() < 0.4 else 0.0),
        waves=waves,
        turns=(error * rng.normal(size=(len(eyes), 3))).astype(np.float32),
        shifts=(error * rng.normal(size=(len(eyes), 3))).astype(np.float32),
        step=float(10 ** rng.uniform(-3.7, -2.7)) if rng.random() < 0.25 else 0.0,
    )


def measured(points: Float32, rays: Float32, shake: Float32, sensor: Sensor) -> Float32:
    """Where the sensor says that points are: noisy, in steps, its views put together wrongly.

    points: (N, 3); rays: (N, 3), roughly to the view that sees each; shake: (N,), the noise along
    the ray. Returns (N, 3).
    """
    offset = sensor.eyes[:, None] - points
    away = np.sqrt(np.einsum("enk,enk->en", offset, offset))
    seen_by = (np.einsum("enk,nk->en", offset, rays) / away).argmax(axis=0)
    row = np.arange(len(points))
    distance = away[seen_by, row]
    ray = offset[seen_by, row] / distance[:, None]
    distance = distance - shake
    if sensor.step:
        distance = np.round(distance / np.float32(sensor.step)) * np.float32(sensor.step)
    found = sensor.eyes[seen_by] - distance[:, None] * ray
    if sensor.turns.any():
        found = found + np.cross(sensor.turns[seen_by], found) + sensor.shifts[seen_by]
    return np.asarray(found, np.float32)


def _viewpoints(count: int, rng: np.random.Generator) -> Float32:
    """Viewpoints spread around the part, at a distance of 1.5 to 5 diagonals; (count, 3)."""
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    height = 1 - (2 * np.arange(count) + 1) / count
    flat = np.sqrt(1 - height**2)
    spread = np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)
    distance = np.exp(rng.uniform(np.log(1.5), np.log(5.0), (count, 1)))
    return (spread @ random_rotation(rng).T * distance).astype(np.float32)


def random_rotation(rng: np.random.Generator) -> Float32:
    """A (3, 3) rotation, uniform over all of them."""
    matrix, upper = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    if np.linalg.det(matrix) < 0:
        matrix[:, 0] = -matrix[:, 0]
    return np.asarray(matrix, dtype=np.float32)


def visible(
    points: Float32,
    normals: Float32,
    eye: Float32,
    cell: float,
    ask: Int64,
    slack: Float32 | None = None,
) -> Bool:
    """Which of the asked points nothing hides from the viewpoint: a depth buffer over all points.

    points, normals: (3, N), a row per axis. cell: edge of the buffer's cells, large enough that
    every front sheet has points in each. ask: (Q,) indices. A point passes when it is the nearest
    of its cell, or lies in that one's tangent plane. slack: (Q,), in cells, how much further behind
    the nearest it may be.
    """
    distance = np.float32(np.linalg.norm(eye))
    forward = -eye / distance
    side = np.cross(forward, np.eye(3, dtype=np.float32)[np.argmin(np.abs(forward))])
    side /= np.linalg.norm(side)
    right, down, depth = np.stack([side, np.cross(forward, side), forward]) @ points
    depth += distance
    scale = np.float32(distance / cell) / depth
    right *= scale
    down *= scale
    column = np.floor(right, out=right).astype(np.int32)
    row = np.floor(down, out=down).astype(np.int32)
    column -= column.min()
    row -= row.min()
    pixel = row * (column.max() + 1) + column
    nearest = np.full(int(pixel.max()) + 1, np.inf, dtype=np.float32)
    np.minimum.at(nearest, pixel, depth)
    at = pixel.take(ask)
    margin = np.float32(0.3 * cell) if slack is None else np.float32(cell) * (slack + 0.3)
    clear = depth.take(ask) < nearest.take(at) + margin
    doubt = np.flatnonzero(~clear)
    if len(doubt) == 0:
        return np.asarray(clear)
    first = np.flatnonzero(nearest.take(pixel) == depth)
    front = np.zeros(len(nearest), dtype=np.int64)
    front[pixel.take(first)] = first
    behind, ahead = ask.take(doubt), front.take(at.take(doubt))
    off = points.take(behind, axis=1) - points.take(ahead, axis=1)
    off *= normals.take(ahead, axis=1)
    clear[doubt] = np.abs(off.sum(axis=0)) < 0.3 * cell
    return np.asarray(clear)


def look(
    points: Float32, normals: Float32, sensor: Sensor, cell: float, *, facing: bool = False
) -> Sight:
    """What the sensor sees of a cloud that samples all surfaces, from any of its viewpoints.

    facing: the normals point outwards, and what turns its back is not seen. The surface may then
    be finely ridged: what is in front hides a slope only if it is clear of it.
    """
    rows = np.ascontiguousarray(points.T)
    normal_rows = np.ascontiguousarray(normals.T)
    square = (rows * rows).sum(axis=0)
    height = (rows * normal_rows).sum(axis=0)
    seen_by = np.full(len(points), -1)
    distance = np.zeros(len(points), np.float32)
    unseen = np.arange(len(points))
    for number, eye in enumerate(sensor.eyes if len(points) else ()):
        away = np.sqrt((square - 2 * (eye @ rows)).take(unseen) + eye @ eye)
        slope = ((eye @ normal_rows) - height).take(unseen) / away
        steep = np.flatnonzero((slope if facing else np.abs(slope)) > sensor.steepest)
        slack = None
        if facing:
            rise = slope.take(steep)
            slack = np.minimum(np.sqrt(np.clip(1 - rise * rise, 0, 1)) / rise, MOST_SLACK)
        asked = unseen.take(steep)
        clear = visible(rows, normal_rows, eye, cell, asked, slack)
        fresh = asked[clear]
        seen_by[fresh] = number
        distance[fresh] = away.take(steep)[clear]
        unseen = unseen[seen_by.take(unseen) < 0]
    index = np.flatnonzero(seen_by >= 0)
    ray = sensor.eyes.take(seen_by.take(index), axis=0) - points.take(index, axis=0)
    return Sight(index, ray / distance.take(index)[:, None])


def returned_density(
    points: Float32, normals: Float32, rays: Float32, sensor: Sensor, area: Float32
) -> Float32:
    """How many points the sensor returns per candidate, relative; (N,) float32, 0 where lost.

    area: (N,) surface that each candidate stands for. The same law holds for good and defective
    surface.
    """
    slope = np.abs(np.einsum("ij,ij->i", rays, normals))
    field = np.zeros((2, len(points)), dtype=np.float32)
    for wave in sensor.waves:
        phase = points @ wave[:3]
        field[0] += np.sin(phase + wave[3])
        field[1] += np.sin(2 * phase + wave[4])
    field /= np.sqrt(len(sensor.waves) / 2)
    density = area * (sensor.even + (1 - sensor.even) * slope)
    density *= np.clip(1 + sensor.unevenness * field[0], 0.2, 2.5)
    lost = slope < sensor.steepest + 0.3 * sensor.dropout * np.clip(field[1], 0, 2)
    density[lost] = 0
    return np.asarray(density, dtype=np.float32)
