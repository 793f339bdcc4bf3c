"""Physical defects, each a function of a site: what moves, what goes, what comes, what is labelled.

Labels come from the displacement: a point is defective where the surface lies further from the
good part's than `site.visible`. Where surface is missing, the rim of the gap is labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zeroflaw.synthesis.patch import (
    Footprint,
    Map,
    Site,
    Waves,
    axes_about,
    deform,
    deviation,
    near,
    profile,
)
from zeroflaw.types import Bool, Float32, Int64


@dataclass(frozen=True, eq=False)
class Change:
    """What a defect does to the surface.

    index: (L,) which of the site's points; points, normals: (L, 3) after it; area: (L,) stretch,
    0 where the surface is gone; deviation: (L,) signed, from the good surface; defective: (L,).
    added, added_normals: (A, 3) new surface, all defective; added_deviation: (A,).
    """

    index: Int64
    points: Float32
    normals: Float32
    area: Float32
    deviation: Float32
    defective: Bool
    added: Float32
    added_normals: Float32
    added_deviation: Float32


Defect = Callable[[Site, np.random.Generator], Change]


def _change(site: Site, index: Int64, move: Map, *, floor: float = 0.12) -> Change:
    """A pure displacement; what moves less than `floor` of the peak is not labelled either."""
    points, normals = site.points[index], site.normals[index]
    moved, turned, area = deform(points, normals, move, 0.2 * site.spacing)
    away = deviation(site, index, moved)
    peak = float(np.abs(away).max(initial=0))
    defective = np.abs(away) > max(site.visible, floor * peak)
    return Change(index, moved, turned, area, away, defective, *_nothing())


def _nothing() -> tuple[Float32, Float32, Float32]:
    return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros(0, np.float32)


def _hill(site: Site, rng: np.random.Generator, sign: float) -> Change:
    print_ = Footprint.random(site, rng)
    sharpness = float(rng.uniform(0.0, 0.85))
    rim = float(rng.uniform(0.1, 0.3)) if rng.random() < 0.25 else 0.0
    grain = Waves.random(0.5 * site.size, 1.5 * site.size, rng, 6)
    wobble = float(rng.uniform(0.0, 0.25))
    up = np.float32(sign * site.amplitude) * print_.frame[2]

    def move(points: Float32) -> Float32:
        reach = print_.reach(points)
        height = profile(reach, sharpness) * (1 + wobble * grain(points))
        if rim:
            height -= rim * profile(np.abs(reach - 1.0) * 3, 0.0)
        return points + height[:, None] * up

    return _change(site, site.same_side(1.4 * site.radius * 1.25), move)


def bulge(site: Site, rng: np.random.Generator) -> Change:
    """The surface pushed out over an irregular footprint."""
    return _hill(site, rng, 1.0)


def dent(site: Site, rng: np.random.Generator) -> Change:
    """The surface pushed in, sometimes with a raised rim."""
    return _hill(site, rng, -1.0)


def rough(site: Site, rng: np.random.Generator) -> Change:
    """A patch with a grain of its own, a few points wide; the whole patch is defective."""
    print_ = Footprint.random(site, rng)
    shortest = 3.0 * site.spacing
    grain = Waves.random(shortest, max(2 * shortest, 0.3 * site.size), rng, 24)
    sharpness = float(rng.uniform(0.5, 0.9))
    strength = np.float32(0.5 * site.amplitude)
    up = print_.frame[2]

    def envelope(points: Float32) -> Float32:
        return strength * profile(print_.reach(points), sharpness)

    index = site.same_side(1.25 * site.radius)
    change = _change(
        site, index, lambda points: points + (envelope(points) * grain(points))[:, None] * up
    )
    level = envelope(site.points[index])
    defective = level > max(0.7 * site.visible, 0.2 * strength)
    return Change(**{**vars(change), "defective": defective})


def crack(site: Site, rng: np.random.Generator) -> Change:
    """A thin, jagged valley as long as the site's size."""
    print_ = Footprint.random(site, rng)
    length, width = site.radius, max(1.4 * site.spacing, float(rng.uniform(0.02, 0.06)) * site.size)
    knots = np.linspace(-length, length, int(rng.integers(5, 12)))
    path = np.cumsum(rng.normal(size=len(knots))) * length / len(knots) * rng.uniform(0.3, 1.0)
    path -= np.interp(0.0, knots, path)
    up = print_.frame[2]

    def move(points: Float32) -> Float32:
        u, v, w = print_.local(points).T
        taper = np.sqrt(np.clip(1 - (u / length) ** 2, 0, 1))
        reach = np.abs(v - np.interp(u, knots, path)) / (width * (0.4 + 0.6 * taper))
        depth = profile(np.asarray(reach, np.float32), 0.1) * taper * (np.abs(w) < site.radius)
        return np.asarray(points - (site.amplitude * depth)[:, None] * up, np.float32)

    return _change(site, site.same_side(1.3 * site.radius), move)


def hole(site: Site, rng: np.random.Generator) -> Change:
    """Surface that is missing: a gap, or a bored hole with walls and sometimes a floor."""
    print_ = Footprint.random(site, rng)
    index = site.same_side(1.5 * site.radius)
    points, normals = site.points[index], site.normals[index]
    reach = print_.reach(points)
    inside = reach < 1
    depth = float(rng.uniform(0.1, 0.6) * site.size)
    walls, floor = rng.random() < 0.6, rng.random() < 0.5
    lip = np.float32(site.amplitude * rng.uniform(-0.4, 0.4)) if rng.random() < 0.5 else 0.0
    up = print_.frame[2]
    moved = points + (lip * profile(np.clip(reach - 1, 0, None) * 4, 0.0))[:, None] * up
    added, added_normals, fallen = _nothing()
    if walls:
        added, added_normals, fallen = _walls(site, print_, points, reach, depth, rng)
    if walls and floor:
        moved = np.where(inside[:, None], points - np.float32(depth) * up, moved)
    gone = inside if not (walls and floor) else np.zeros(len(inside), dtype=bool)
    away = np.einsum("ij,ij->i", moved - points, normals)
    rim = (reach >= 1) & near(points, points[inside], 2.5 * site.spacing + 0.04 * site.size)
    defective = (rim | inside | (np.abs(away) > site.visible)) & ~gone
    area = np.where(gone, 0, 1).astype(np.float32)
    return Change(index, moved, normals, area, away, defective, added, added_normals, fallen)


def _walls(
    site: Site,
    print_: Footprint,
    points: Float32,
    reach: Float32,
    depth: float,
    rng: np.random.Generator,
) -> tuple[Float32, Float32, Float32]:
    """Points down the wall of a hole, as dense as the site's; their normals and deviations."""
    band = np.flatnonzero(np.abs(reach - 1) < 0.35)
    if len(band) < 8:
        return _nothing()
    angle = np.linspace(-np.pi, np.pi, 257, dtype=np.float32)
    radius = print_.outline(angle)
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))])
    count = int(arc[-1] * depth / site.spacing**2)
    at = np.interp(rng.uniform(0, arc[-1], count), arc, angle).astype(np.float32)
    local = print_.local(points[band])
    around = np.arctan2(local[:, 1], local[:, 0])
    order = np.argsort(around)
    top = np.interp(at, around[order], local[order, 2], period=2 * np.pi)
    down = rng.uniform(0, depth, count)
    reach_out = print_.outline(at)
    flat = np.stack([reach_out * np.cos(at), reach_out * np.sin(at), top - down], axis=1)
    inward = np.stack([-np.cos(at), -np.sin(at), np.zeros_like(at)], axis=1)
    wall = print_.origin + flat.astype(np.float32) @ print_.frame
    return wall, inward @ print_.frame, -down.astype(np.float32)


def _pressed(site: Site, direction: Float32, depth: float, surface: Map, *, blend: float) -> Change:
    """What stands out beyond a plane `depth` under the seed's top is pressed onto it.

    surface: relief of the cut. blend: width over which the cut's edge is rounded. The cap's
    surface projects onto its own cross-section, so the cut face is filled as densely as the rest.
    """
    index = site.same_side(1.1 * site.radius)
    top = float((site.points[index] @ direction).max())
    plane = np.float32(top - depth)

    def move(points: Float32) -> Float32:
        over = points @ direction - plane - surface(points)
        sunk = (over + np.sqrt(over * over + blend * blend)) / 2 - blend / 2
        sunk = np.where(over > -2 * blend, np.maximum(sunk, 0), 0)
        return np.asarray(points - sunk[:, None] * direction, np.float32)

    return _change(site, index, move, floor=0.03)


def _cap_depth(site: Site, direction: Float32) -> float:
    """How deep a plane must cut from the top for the cap to be as wide as the site's size."""
    near_ = site.points[site.same_side(1.1 * site.radius)]
    height = near_ @ direction
    under = height.max() - height
    flat = near_ - height[:, None] * direction
    top = flat[np.argmax(height)]
    span = np.linalg.norm(flat - top, axis=1)
    edge = span > 0.8 * site.radius
    return float(np.quantile(under[edge], 0.1)) if edge.any() else float(0.7 * under.max())


def flat(site: Site, rng: np.random.Generator) -> Change:
    """A convex place pressed or worn to a plane."""
    direction = _outward(site, 0.8 + 0.2 * rng.random())
    depth = min(_cap_depth(site, direction), 1.5 * site.amplitude)
    blend = np.float32(rng.uniform(0.02, 0.2) * depth)
    return _pressed(
        site, direction, depth, lambda points: np.zeros(len(points), np.float32), blend=blend
    )


def broken(site: Site, rng: np.random.Generator) -> Change:
    """A piece broken off an edge, corner or rim, with its rough fracture surface."""
    direction = _outward(site, rng.random())
    depth = _cap_depth(site, direction)
    coarse = Waves.random(0.3 * site.size, 1.2 * site.size, rng, 8)
    fine = Waves.random(3 * site.spacing, 0.3 * site.size + 3 * site.spacing, rng, 12)
    relief = 0.12 * min(depth, 0.3 * site.size)
    return _pressed(
        site,
        direction,
        depth,
        lambda points: np.float32(relief) * (coarse(points) + 0.35 * fine(points)),
        blend=1e-6,
    )


def _outward(site: Site, along_normal: float) -> Float32:
    """Between the surface's normal and the way from the local middle to the seed."""
    out = site.points[site.seed] - site.points[site.ball(1.2 * site.radius)].mean(axis=0)
    out = out / (np.linalg.norm(out) + 1e-9)
    direction = along_normal * site.frame[2] + (1 - along_normal) * out
    return np.asarray(direction / (np.linalg.norm(direction) + 1e-9), np.float32)


def bend(site: Site, rng: np.random.Generator) -> Change:
    """An end of the part turned away, more the further out."""
    middle = site.points.mean(axis=0)
    along = site.points[site.seed] - middle
    along = np.asarray(along / (np.linalg.norm(along) + 1e-9), np.float32)
    sideways, across, _ = axes_about(along)
    turn = rng.uniform(0, 2 * np.pi)
    push = np.float32(np.cos(turn)) * sideways + np.float32(np.sin(turn)) * across
    reach = (site.points - site.points[site.seed]) @ along
    index = np.flatnonzero(reach > -site.size)
    offset = site.points[index] - site.points[site.seed]
    beside = np.linalg.norm(offset - (offset @ along)[:, None] * along, axis=1)
    index = index[beside < 1.3 * site.size]
    lift = np.float32(1.5 * site.amplitude)

    def move(points: Float32) -> Float32:
        offset = points - site.points[site.seed]
        t = offset @ along
        beside = np.linalg.norm(offset - t[:, None] * along, axis=1)
        bow = np.clip(1 + t / np.float32(site.size), 0, 1.5) ** 2
        bow *= profile(np.asarray(beside / np.float32(1.3 * site.size), np.float32), 0.7)
        return np.asarray(points + (lift * bow)[:, None] * push, np.float32)

    return _change(site, index, move)


DEFECTS: dict[str, Defect] = {
    "bulge": bulge,
    "dent": dent,
    "hole": hole,
    "crack": crack,
    "break": broken,
    "bend": bend,
    "rough": rough,
    "flat": flat,
}

PROTRUDING = frozenset({"break", "bend", "flat"})
"""Kinds that need a place that stands out: an edge, a tip, a convex face."""
