"""A labelled scan of a part from a shape and a seed, and its good twin."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zeroflaw.synthesis.change import Change
from zeroflaw.synthesis.defects import DEFECTS, FACING, FEATURED, PROTRUDING
from zeroflaw.synthesis.patch import Part, Site
from zeroflaw.synthesis.sensor import (
    PIXEL_SPACINGS,
    Sensor,
    Sight,
    look,
    measured,
    random_rotation,
    random_sensor,
    returned_density,
)
from zeroflaw.synthesis.shapes import Shape, UnusableShape
from zeroflaw.synthesis.surfaces import sample_triangles
from zeroflaw.types import Bool, Float32, Float64, Int64, Scan

Int8 = NDArray[np.int8]
GOOD = "good"
PILOT = 3000
FEWEST = 12
"""Labelled points that a defective scan has at least."""
SPARE = 1.7
"""Seen candidates per point of the scan, so that density can be evened out on slopes."""


@dataclass(frozen=True)
class Settings:
    """What is synthesised; lengths in diagonals of the part.

    points: least and most of a scan. defective_share and one_sided_share: of all scans. sizes:
    diameter of a defect, log-uniform. amplitudes: height or depth in diameters of the defect,
    log-uniform, but never below the noise. noise: sigma, log-uniform. kinds: of DEFECTS, or
    ("good",) alone. attempts: places tried for a defect before the scan stays good. most_defects:
    that a defective scan has, any number up to it being as likely, but fewer where none fits.
    """

    points: tuple[int, int] = (8_000, 30_000)
    defective_share: float = 0.65
    one_sided_share: float = 0.5
    sizes: tuple[float, float] = (0.02, 0.25)
    amplitudes: tuple[float, float] = (0.03, 0.35)
    noise: tuple[float, float] = (0.0001, 0.004)
    kinds: tuple[str, ...] = tuple(DEFECTS)
    attempts: int = 6
    most_defects: int = 1


@dataclass(frozen=True, eq=False)
class Synthesized:
    """A scan with labels, and what was done to it.

    kind: "good" or a key of DEFECTS. size: diameter of the defect, amplitude: its greatest
    deviation from the good surface (at least half the size for a gap), both in diagonals of the
    part (0 when good). sided: "full" or "one". displacement: (N,)
    float32, signed distance to the good twin's surface in the scan's unit, positive outside.
    origin: (N,) which point of the surface it is; the good twin gives the same number to the same
    place, -1 for surface that the good twin does not have. noise: sigma in diagonals. kinds: of all
    its defects, the first being `kind`; cause: (N,) int8, which of them a labelled point belongs
    to, -1 for the others.
    """

    scan: Scan
    kind: str
    size: float
    amplitude: float
    sided: str
    displacement: Float32
    origin: Int64
    noise: float
    kinds: tuple[str, ...]
    cause: Int8


@dataclass(frozen=True, eq=False)
class _View:
    """The good part as the sensor sees it, before points are drawn; same for both twins."""

    points: Float32
    normals: Float32
    rays: Float32
    part: Part
    sensor: Sensor
    spacing: float
    count: int
    one_sided: bool


def synthesize(shape: Shape, seed: int, settings: Settings = Settings()) -> Synthesized:
    """One scan of the shape, deterministic per seed. Raises UnusableShape."""
    part, surface, sensor, defect = np.random.default_rng(seed).spawn(4)
    view = _view(shape, settings, part, surface)
    good = _Made(_cloud(view, sensor), GOOD, 0.0, 0.0, ())
    made = None
    if settings.kinds != (GOOD,) and defect.random() < settings.defective_share:
        kind = str(defect.choice([name for name in settings.kinds if name != GOOD]))
        made = _defective(view, good, kind, settings, defect)
    if made is not None and settings.most_defects > 1:
        made = _with_more(view, made, settings, defect)
    return _scan(shape, view, made or good)


def good_twin(shape: Shape, seed: int, settings: Settings = Settings()) -> Synthesized:
    """The scan of the same seed without its defect: same pose, viewpoint, points and noise."""
    return synthesize(shape, seed, replace(settings, kinds=(GOOD,)))


def _view(
    shape: Shape, settings: Settings, pose: np.random.Generator, surface: np.random.Generator
) -> _View:
    triangles = shape.triangles
    wanted = int(pose.integers(settings.points[0], settings.points[1] + 1))
    one_sided = bool(pose.random() < settings.one_sided_share)
    sensor = random_sensor(pose, one_sided, settings.noise)
    turn = random_rotation(pose)
    share = len(_look(shape, PILOT, turn, sensor, surface)[1].index) / PILOT
    total = int(min(SPARE * wanted / max(share, 0.02), 12 * wanted))
    part, sight = _look(shape, total, turn, sensor, surface)
    points, normals = part.points[part.seen], part.normals[part.seen]
    normals[np.einsum("ij,ij->i", normals, sight.ray) < 0] *= -1
    count = min(wanted, int(len(points) / 1.3))
    if count < 1000:
        raise UnusableShape(f"{shape.name}: hardly any of the part can be seen from outside")
    spacing = float(np.sqrt(triangles.area / total))
    return _View(points, normals, sight.ray, part, sensor, spacing, count, one_sided)


def _look(
    shape: Shape, total: int, turn: Float32, sensor: Sensor, rng: np.random.Generator
) -> tuple[Part, Sight]:
    """`total` samples of the part in its pose, and which of them the sensor sees."""
    samples = sample_triangles(shape.triangles, total, rng)
    points, normals = samples.points @ turn.T, samples.normals @ turn.T
    cell = PIXEL_SPACINGS * float(np.sqrt(shape.triangles.area / total))
    sight = look(points, normals, sensor, cell)
    return Part(shape, points, normals, samples.face, sight.index, turn, sensor), sight


@dataclass(frozen=True, eq=False)
class _Cloud:
    """Candidates for the scan's points, a row each, with all that chance decides about them.

    density: relative number of points the sensor returns there. draw, order: uniform, which are
    taken and in which order. shake: noise along the ray.
    """

    points: Float32
    rays: Float32
    density: Float32
    away: Float32
    labels: Bool
    origin: Int64
    draw: Float32
    order: Float32
    shake: Float32
    cause: Int8


@dataclass(frozen=True, eq=False)
class _Made:
    """A cloud and its first defect; kinds: of all of them."""

    cloud: _Cloud
    kind: str
    size: float
    amplitude: float
    kinds: tuple[str, ...]


def _with_more(view: _View, made: _Made, settings: Settings, rng: np.random.Generator) -> _Made:
    """The part with more defects, none touching another."""
    kinds = [name for name in settings.kinds if name != GOOD]
    for _ in range(int(rng.integers(settings.most_defects))):
        more = _defective(view, made, str(rng.choice(kinds)), settings, rng)
        made = made if more is None else replace(made, cloud=more.cloud, kinds=more.kinds)
    return made


def _defective(
    view: _View, before: _Made, kind: str, settings: Settings, rng: np.random.Generator
) -> _Made | None:
    """The part with one defect more that can be seen, or None when every attempt failed."""
    taken = _touched(view, before.cloud)
    marked = int((before.cloud.labels & (before.cloud.density > 0)).sum())
    spacing = view.spacing * float(np.sqrt(len(view.points) / view.count))
    visible = max(view.sensor.uncertainty, 0.1 * spacing, 0.0006)
    for _ in range(settings.attempts):
        size = float(np.exp(rng.uniform(*np.log(settings.sizes))))
        size = max(size, min(5 * spacing, settings.sizes[1]))
        relative = float(np.exp(rng.uniform(*np.log(settings.amplitudes))))
        amplitude = max(relative * size, 2.0 * visible)
        spread = (size, amplitude, view.spacing, visible)
        site = Site(view.points, view.normals, 0, *spread, view.part)
        site = replace(site, seed=_seed(site, kind, rng))
        change = DEFECTS[kind](site, rng)
        if taken[change.index].any():
            continue
        cloud = _changed(before.cloud, view, change, rng, len(before.kinds))
        seen = cloud.density > 0
        labelled = int((cloud.labels & seen).sum())
        new, share = ((labelled - old) / max(int(seen.sum()), 1) for old in (marked, 0))
        if new * view.count >= FEWEST and share < 0.4:
            cut = change.size is None and bool((change.area == 0).any())
            gap = size / 2 if cut else 0.0
            peak = float(np.abs(np.append(change.deviation, change.added_deviation)).max())
            return _Made(cloud, kind, change.size or size, max(gap, peak), (*before.kinds, kind))
    return None


def _touched(view: _View, cloud: _Cloud) -> Bool:
    """Which of the view's candidates a defect has moved or marked."""
    count = len(view.points)
    moved = (cloud.points[:count] != view.points).any(axis=1)
    return np.asarray(moved | cloud.labels[:count])


def _seed(site: Site, kind: str, rng: np.random.Generator) -> int:
    """A random seen point; for kinds that need it, the most fitting of a few."""
    tries = [int(i) for i in rng.integers(len(site.points), size=6)]
    if kind in FACING:
        return max(tries[:3], key=lambda i: replace(site, seed=i).facing())
    if kind in FEATURED:
        return min(tries, key=lambda i: replace(site, seed=i).facing())
    if kind in PROTRUDING:
        return max(tries, key=lambda i: replace(site, seed=i).standing())
    return tries[0]


def _scan(shape: Shape, view: _View, made: _Made) -> Synthesized:
    cloud, triangles = made.cloud, shape.triangles
    chosen = _drawn(cloud, view.count)
    found = measured(cloud.points[chosen], cloud.rays[chosen], cloud.shake[chosen], view.sensor)
    points: Float64 = found.astype(np.float64) * triangles.diagonal + triangles.center
    return Synthesized(
        scan=Scan(points=points, labels=cloud.labels[chosen]),
        kind=made.kind,
        size=made.size,
        amplitude=made.amplitude,
        sided="one" if view.one_sided else "full",
        displacement=(cloud.away[chosen] * np.float32(triangles.diagonal)).astype(np.float32),
        origin=cloud.origin[chosen],
        noise=view.sensor.noise,
        kinds=made.kinds,
        cause=cloud.cause[chosen],
    )


def _cloud(view: _View, rng: np.random.Generator) -> _Cloud:
    """The good part's candidates; the same for both twins."""
    total = len(view.points)
    stretch = np.ones(total, np.float32)
    return _Cloud(
        points=view.points,
        rays=view.rays,
        density=returned_density(view.points, view.normals, view.rays, view.sensor, stretch),
        away=np.zeros(total, np.float32),
        labels=np.zeros(total, dtype=bool),
        origin=np.arange(total),
        cause=np.full(total, -1, np.int8),
        **_chances(total, view.sensor, rng),
    )


def _chances(total: int, sensor: Sensor, rng: np.random.Generator) -> dict[str, Float32]:
    draw = rng.random(total, dtype=np.float32)
    order = rng.random(total, dtype=np.float32)
    shake = rng.standard_normal(total, dtype=np.float32) * np.float32(sensor.noise)
    stray = np.flatnonzero(rng.random(total) < sensor.outliers)
    shake[stray] += np.float32(0.03) * rng.standard_normal(len(stray), dtype=np.float32)
    return {"draw": draw + np.float32(1e-9), "order": order, "shake": shake}


def _changed(
    cloud: _Cloud, view: _View, change: Change, rng: np.random.Generator, number: int
) -> _Cloud:
    """The candidates with defect `number`: moved, gone, come, and hidden by it."""
    index, sensor = change.index, view.sensor
    points, away, labels = cloud.points.copy(), cloud.away.copy(), cloud.labels.copy()
    density = cloud.density.copy()
    points[index] = change.points
    away[index], labels[index] = change.deviation, change.defective
    cause = cloud.cause.copy()
    cause[index[change.defective]] = number
    rays = np.concatenate([view.rays[index], np.zeros_like(change.added)])
    local = np.concatenate([change.points, change.added])
    normals = np.concatenate([change.normals, change.added_normals])
    area = np.concatenate([change.area, np.ones(len(change.added), np.float32)])
    if change.added_rays is not None:
        rays[len(index) :] = change.added_rays
    elif view.one_sided or len(change.added):
        solid = np.flatnonzero(area > 0.05)
        cell = PIXEL_SPACINGS * view.spacing
        sight = look(local[solid], normals[solid], sensor, cell, facing=True)
        rays[solid[sight.index]] = sight.ray
        hidden = np.ones(len(area), dtype=bool)
        hidden[solid[sight.index]] = False
        area = np.where(hidden, 0, area).astype(np.float32)
    returned = returned_density(local, normals, rays, sensor, area)
    density[index] = returned[: len(index)]
    extra = len(change.added)
    bad = np.ones(extra, dtype=bool) if change.added_defective is None else change.added_defective
    chances = _chances(extra, sensor, rng)
    return _Cloud(
        points=np.concatenate([points, change.added]),
        rays=np.concatenate([cloud.rays, rays[len(index) :]]),
        density=np.concatenate([density, returned[len(index) :]]),
        away=np.concatenate([away, change.added_deviation]),
        labels=np.concatenate([labels, bad]),
        origin=np.concatenate([cloud.origin, np.full(extra, -1)]),
        cause=np.concatenate([cause, np.where(bad, number, -1).astype(np.int8)]),
        **{name: np.concatenate([getattr(cloud, name), chances[name]]) for name in chances},
    )


def _drawn(cloud: _Cloud, count: int) -> Int64:
    """`count` candidates in random order, each with a chance in proportion to its density."""
    there = np.flatnonzero(cloud.density > 0)
    if len(there) > count:
        key = cloud.draw[there] / cloud.density[there]
        there = there[np.argpartition(key, count)[:count]]
    return there[np.argsort(cloud.order[there])]
