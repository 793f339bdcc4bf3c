"""A labelled scan of a part from a shape and a seed, and its good twin."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zeroflaw.synthesis.defects import DEFECTS, PROTRUDING, Change
from zeroflaw.synthesis.patch import Site
from zeroflaw.synthesis.sensor import (
    PIXEL_SPACINGS,
    Sensor,
    look,
    random_rotation,
    random_sensor,
    returned_density,
)
from zeroflaw.synthesis.shapes import Shape, Triangles, UnusableShape
from zeroflaw.synthesis.surfaces import sample_triangles
from zeroflaw.types import Bool, Float32, Float64, Int64, Scan

GOOD = "good"
PILOT = 3000
SPARE = 1.7
"""Seen candidates per point of the scan, so that density can be evened out on slopes."""


@dataclass(frozen=True)
class Settings:
    """What is synthesised; lengths in diagonals of the part.

    points: least and most of a scan. defective_share and one_sided_share: of all scans. sizes:
    diameter of a defect, log-uniform. amplitudes: height or depth in diameters of the defect,
    log-uniform, but never below the noise. noise: sigma, log-uniform. kinds: of DEFECTS, or
    ("good",) alone. attempts: places tried for a defect before the scan stays good.
    """

    points: tuple[int, int] = (8_000, 30_000)
    defective_share: float = 0.65
    one_sided_share: float = 0.5
    sizes: tuple[float, float] = (0.02, 0.25)
    amplitudes: tuple[float, float] = (0.03, 0.35)
    noise: tuple[float, float] = (0.0001, 0.004)
    kinds: tuple[str, ...] = tuple(DEFECTS)
    attempts: int = 6


@dataclass(frozen=True, eq=False)
class Synthesized:
    """A scan with labels, and what was done to it.

    kind: "good" or a key of DEFECTS. size: diameter of the defect, amplitude: its height or depth,
    both in diagonals of the part (0 when good). sided: "full" or "one". displacement: (N,)
    float32, signed distance to the good twin's surface in the scan's unit, positive outside.
    origin: (N,) which point of the surface it is; the good twin gives the same number to the same
    place, -1 for surface that the good twin does not have. noise: sigma in diagonals.
    """

    scan: Scan
    kind: str
    size: float
    amplitude: float
    sided: str
    displacement: Float32
    origin: Int64
    noise: float


@dataclass(frozen=True, eq=False)
class _View:
    """The good part as the sensor sees it, before points are drawn; same for both twins."""

    points: Float32
    normals: Float32
    rays: Float32
    sensor: Sensor
    spacing: float
    count: int
    one_sided: bool


def synthesize(shape: Shape, seed: int, settings: Settings = Settings()) -> Synthesized:  # noqa: B008
    """One scan of the shape, deterministic per seed. Raises UnusableShape."""
    part, surface, sensor, defect = np.random.default_rng(seed).spawn(4)
    view = _view(shape.triangles, settings, part, surface)
    kind = GOOD
    if settings.kinds != (GOOD,) and defect.random() < settings.defective_share:
        kind = str(defect.choice([name for name in settings.kinds if name != GOOD]))
    made = _defect(view, kind, settings, defect) if kind != GOOD else None
    return _scan(shape, view, made, sensor)


def good_twin(shape: Shape, seed: int, settings: Settings = Settings()) -> Synthesized:  # noqa: B008
    """The scan of the same seed without its defect: same pose, viewpoint, points and noise."""
    return synthesize(shape, seed, replace(settings, kinds=(GOOD,)))


def _view(
    triangles: Triangles,
    settings: Settings,
    part: np.random.Generator,
    surface: np.random.Generator,
) -> _View:
    wanted = int(part.integers(settings.points[0], settings.points[1] + 1))
    one_sided = bool(part.random() < settings.one_sided_share)
    sensor = random_sensor(part, one_sided, settings.noise)
    turn = random_rotation(part)
    share = max(_look(triangles, PILOT, turn, sensor, surface)[3], 0.02)
    total = int(min(SPARE * wanted / share, 12 * wanted))
    points, normals, rays, share = _look(triangles, total, turn, sensor, surface)
    count = min(wanted, int(len(points) / 1.3))
    if count < 1000:
        raise UnusableShape("hardly any of the part can be seen from outside")
    spacing = float(np.sqrt(triangles.area / total))
    return _View(points, normals, rays, sensor, spacing, count, one_sided)


def _look(
    triangles: Triangles, total: int, turn: Float32, sensor: Sensor, rng: np.random.Generator
) -> tuple[Float32, Float32, Float32, float]:
    """Seen points, normals towards the viewer, rays, and the seen share of `total` samples."""
    samples = sample_triangles(triangles, total, rng)
    points, normals = samples.points @ turn.T, samples.normals @ turn.T
    cell = PIXEL_SPACINGS * float(np.sqrt(triangles.area / total))
    sight = look(points, normals, sensor, cell)
    points, normals = points[sight.index], normals[sight.index]
    away = np.einsum("ij,ij->i", normals, sight.ray) < 0
    normals[away] = -normals[away]
    return points, normals, sight.ray, len(points) / total


@dataclass(frozen=True)
class _Made:
    change: Change
    kind: str
    size: float
    amplitude: float


def _defect(view: _View, kind: str, settings: Settings, rng: np.random.Generator) -> _Made | None:
    """A defect of the kind that can be seen, or None when every attempt failed."""
    spacing = view.spacing * float(np.sqrt(len(view.points) / view.count))
    visible = max(view.sensor.noise, 0.1 * spacing, 0.0006)
    least = 5 * spacing
    for _ in range(settings.attempts):
        size = float(np.exp(rng.uniform(*np.log(settings.sizes))))
        size = max(size, min(least, settings.sizes[1]))
        relative = float(np.exp(rng.uniform(*np.log(settings.amplitudes))))
        amplitude = max(relative * size, 2.0 * visible)
        site = Site(view.points, view.normals, 0, size, amplitude, view.spacing, visible)
        site = replace(site, seed=_seed(site, kind, rng))
        change = DEFECTS[kind](site, rng)
        labelled = int((change.defective & (change.area > 0.05)).sum()) + len(change.added)
        if 12 <= labelled < 0.4 * len(view.points):
            return _Made(change, kind, size, amplitude)
    return None


def _seed(site: Site, kind: str, rng: np.random.Generator) -> int:
    """A random seen point; for kinds that need it, the most protruding of a few."""
    if kind not in PROTRUDING:
        return int(rng.integers(len(site.points)))
    tries = rng.integers(len(site.points), size=6)
    if kind == "bend":
        far = np.linalg.norm(site.points[tries] - site.points.mean(axis=0), axis=1)
        return int(tries[np.argmax(far)])
    standing = [
        np.linalg.norm(
            site.points[i] - site.points[replace(site, seed=int(i)).ball(site.radius)].mean(axis=0)
        )
        for i in tries
    ]
    return int(tries[int(np.argmax(standing))])


def _scan(shape: Shape, view: _View, made: _Made | None, rng: np.random.Generator) -> Synthesized:
    total = len(view.points)
    draw = rng.random(total, dtype=np.float32) + np.float32(1e-9)
    order = rng.random(total, dtype=np.float32)
    shake = rng.standard_normal(total, dtype=np.float32) * np.float32(view.sensor.noise)
    stray = rng.random(total) < view.sensor.outliers
    shake[stray] += np.float32(0.03) * rng.standard_normal(int(stray.sum()), dtype=np.float32)
    points, normals, rays = view.points, view.normals, view.rays
    away = np.zeros(total, np.float32)
    labels = np.zeros(total, dtype=bool)
    origin = np.arange(total)
    density = returned_density(points, normals, rays, view.sensor, np.ones(total, np.float32))
    if made is not None:
        change, index = made.change, made.change.index
        points, away, labels = points.copy(), away.copy(), labels.copy()
        points[index] = change.points
        away[index], labels[index] = change.deviation, change.defective
        density[index] = returned_density(
            change.points, change.normals, rays[index], view.sensor, change.area
        )
        extra = len(change.added)
        if extra:
            toward = _nearest_rays(view, change)
            facing = np.einsum("ij,ij->i", toward, change.added_normals) > 0
            added_density = facing * returned_density(
                change.added, change.added_normals, toward, view.sensor, np.ones(extra, np.float32)
            )
            points = np.concatenate([points, change.added])
            rays = np.concatenate([rays, toward])
            away = np.concatenate([away, change.added_deviation])
            labels = np.concatenate([labels, np.ones(extra, dtype=bool)])
            origin = np.concatenate([origin, np.full(extra, -1)])
            density = np.concatenate([density, added_density])
            draw = np.concatenate([draw, rng.random(extra, dtype=np.float32)])
            order = np.concatenate([order, rng.random(extra, dtype=np.float32)])
            more = rng.standard_normal(extra, dtype=np.float32) * np.float32(view.sensor.noise)
            shake = np.concatenate([shake, more])
    chosen = _draw(draw, density, view.count)
    chosen = chosen[np.argsort(order[chosen])]
    return _finish(
        shape,
        view,
        made,
        points[chosen] + shake[chosen, None] * rays[chosen],
        labels[chosen],
        away[chosen],
        origin[chosen],
    )


def _draw(draw: Float32, density: Float32, count: int) -> Int64:
    """`count` points, each with a chance in proportion to its density."""
    with np.errstate(divide="ignore"):
        key = draw / density
    there = int((density > 0).sum())
    if there <= count:
        return np.flatnonzero(density > 0)
    return np.argpartition(key, count)[:count]


def _nearest_rays(view: _View, change: Change) -> Float32:
    """Rays for new surface: those of the defect's middle."""
    ray = view.rays[change.index].mean(axis=0)
    ray /= np.linalg.norm(ray) + 1e-9
    return np.broadcast_to(ray.astype(np.float32), change.added.shape).copy()


def _finish(
    shape: Shape,
    view: _View,
    made: _Made | None,
    points: Float32,
    labels: Bool,
    away: Float32,
    origin: Int64,
) -> Synthesized:
    triangles = shape.triangles
    scaled: Float64 = points.astype(np.float64) * triangles.diagonal + triangles.center
    return Synthesized(
        scan=Scan(points=scaled, labels=labels),
        kind=GOOD if made is None else made.kind,
        size=0.0 if made is None else made.size,
        amplitude=0.0 if made is None else made.amplitude,
        sided="one" if view.one_sided else "full",
        displacement=(away * np.float32(triangles.diagonal)).astype(np.float32),
        origin=origin.astype(np.int64),
        noise=view.sensor.noise,
    )
