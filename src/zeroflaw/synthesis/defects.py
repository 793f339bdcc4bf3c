"""Physical defects, each a function of a site: what moves, what goes, what comes, what is labelled.

Labels come from the displacement: a point is defective where the surface lies further from the
good part's than `site.visible`. Where surface is missing, the rim of the gap is labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from zeroflaw.synthesis.change import Change, displaced, nothing
from zeroflaw.synthesis.features import missing, shifted
from zeroflaw.synthesis.marks import excess, scratch
from zeroflaw.synthesis.patch import Footprint, Site, Waves, axes_about, near, profile
from zeroflaw.types import Float32, Int64

Defect = Callable[[Site, np.random.Generator], Change]
Height = Callable[[Float32], Float32]


def _hill(site: Site, rng: np.random.Generator, sign: float) -> Change:
    print_ = Footprint.random(site, rng)
    sharpness = float(rng.uniform(0.0, 0.85))
    rim = float(rng.uniform(0.1, 0.3)) if rng.random() < 0.25 else 0.0
    grain = Waves.random(0.5 * site.size, 1.5 * site.size, rng, 6)
    wobble = float(rng.uniform(0.0, 0.25))
    steepest = site.radius / print_.aspect * (1 - 0.75 * sharpness)
    thickness = site.thickness()
    sheet = thickness < 0.3 * site.size and (rng.random() < 0.5 or sign > 0)
    room = np.inf if sheet or sign > 0 else 0.8 * thickness
    height = min(max(min(site.amplitude, 0.9 * steepest * site.facing()), 2 * site.visible), room)
    up = np.float32(sign * height) * print_.frame[2]

    def move(points: Float32) -> Float32:
        reach = print_.reach(points)
        hill = profile(reach, sharpness) * (1 + wobble * grain(points))
        if rim:
            hill -= rim * profile(np.abs(reach - 1.0) * 3, 0.0)
        return np.asarray(points + hill[:, None] * up, np.float32)

    reach = 1.4 * 1.25 * site.radius
    return displaced(site, site.ball(reach) if sheet else site.same_side(reach), move)


def bulge(site: Site, rng: np.random.Generator) -> Change:
    """The surface pushed out over an irregular footprint."""
    return _hill(site, rng, 1.0)


def dent(site: Site, rng: np.random.Generator) -> Change:
    """The surface pushed in, sometimes with a raised rim."""
    return _hill(site, rng, -1.0)


def rough(site: Site, rng: np.random.Generator) -> Change:
    """A patch with a grain of its own; defective where its heights around a point are visible."""
    print_ = Footprint.random(site, rng)
    shortest = 3.0 * site.spacing
    longest = max(2 * shortest, 0.3 * site.size)
    grain = Waves.random(shortest, longest, rng, 24)
    sharpness = float(rng.uniform(0.5, 0.9))
    strength = np.float32(max(min(0.5 * site.amplitude, 0.06 * longest), 1.5 * site.visible))
    index = site.same_side(1.25 * site.radius)
    normals = site.normals[index]

    def move(points: Float32) -> Float32:
        height = strength * profile(print_.reach(points), sharpness) * grain(points)
        return np.asarray(points + height[:, None] * normals, np.float32)

    change = displaced(site, index, move)
    level = _local_root_mean_square(change.deviation, site.points[index])
    defective = level > max(site.visible, 0.12 * float(level.max(initial=0)))
    return replace(change, defective=defective)


def _local_root_mean_square(values: Float32, points: Float32, count: int = 24) -> Float32:
    """Of the values at each point and its nearest ones, some two or three spacings around it."""
    _, nearest = cKDTree(points).query(points, k=min(count, len(points)))
    square = (values * values)[nearest.reshape(len(points), -1)]
    return np.asarray(np.sqrt(square.mean(axis=1)), np.float32)


def crack(site: Site, rng: np.random.Generator) -> Change:
    """A thin, jagged valley as long as the site's size."""
    print_ = Footprint.random(site, rng)
    length, width = site.radius, max(2.2 * site.spacing, float(rng.uniform(0.02, 0.07)) * site.size)
    knots = np.linspace(-length, length, int(rng.integers(5, 12)))
    path = np.cumsum(rng.normal(size=len(knots))) * length / len(knots) * rng.uniform(0.3, 1.0)
    path -= np.interp(0.0, knots, path)
    deepest = float(min(site.amplitude, 2.5 * width, 0.7 * site.thickness()))
    index = site.same_side(1.3 * site.radius)
    normals = site.normals[index]

    def move(points: Float32) -> Float32:
        u, v, w = print_.local(points).T
        taper = np.sqrt(np.clip(1 - (u / length) ** 2, 0, 1))
        reach = np.abs(v - np.interp(u, knots, path)) / (width * (0.4 + 0.6 * taper))
        depth = profile(np.asarray(reach, np.float32), 0.1) * taper * (np.abs(w) < site.radius)
        return np.asarray(points - (deepest * depth)[:, None] * normals, np.float32)

    return displaced(site, index, move)


def hole(site: Site, rng: np.random.Generator) -> Change:
    """Surface that is missing: a gap, or a bored hole with walls and sometimes a floor."""
    print_ = Footprint.random(site, rng)
    index, depth, through = _bore(site, print_, float(rng.uniform(0.1, 0.6) * site.size))
    walls, floor = rng.random() < 0.6, not through and rng.random() < 0.5
    lip = np.float32(site.amplitude * rng.uniform(-0.4, 0.4)) if rng.random() < 0.5 else 0.0
    points, normals = site.points[index], site.normals[index]
    reach = print_.across(points)
    inside = reach < 1
    up = print_.frame[2]
    moved = points + (lip * profile(np.clip(reach - 1, 0, None) * 4, 0.0))[:, None] * up
    added, added_normals, fallen = nothing()
    if walls or through:
        top = normals @ up > 0
        added, added_normals, fallen = print_.walls(points[top], depth, site.spacing, rng)
    if walls and floor:
        moved = np.where(inside[:, None], points - np.float32(depth) * up, moved)
    gone = inside & (normals @ up < 0.3 if walls and floor else np.ones(len(inside), bool))
    away = np.einsum("ij,ij->i", moved - points, normals)
    rim = ~inside & near(points, points[inside], 2.5 * site.spacing + 0.04 * site.size)
    defective = (rim | inside | (np.abs(away) > site.visible)) & ~gone
    area = np.where(gone, 0, 1).astype(np.float32)
    return Change(index, moved, normals, area, away, defective, added, added_normals, fallen)


def _bore(site: Site, print_: Footprint, depth: float) -> tuple[Int64, float, bool]:
    """What a bore meets: this side's points, the depth, and whether it comes out of a thin wall.

    If the opposite wall is nearer than `depth`, its points belong to the hole too.
    """
    index = site.same_side(1.5 * site.radius)
    ball = np.setdiff1d(site.ball(1.5 * site.radius + depth), index, assume_unique=True)
    below = -print_.local(site.points[ball])[:, 2]
    behind = (below > 0.5 * site.spacing) & (site.normals[ball] @ print_.frame[2] < -0.3)
    behind &= print_.across(site.points[ball]) < 1.4
    within = behind & (print_.across(site.points[ball]) < 1)
    if within.sum() < 6:
        return index, depth, False
    thickness = float(np.quantile(below[within], 0.3))
    if thickness > depth:
        return index, depth, False
    behind &= below < 1.3 * thickness + 2 * site.spacing
    return np.sort(np.concatenate([index, ball[behind]])), thickness, True


def _pressed(site: Site, direction: Float32, cut: Height, blend: float) -> Change:
    """What stands out beyond a cut surface is pressed onto it, along a direction.

    cut: height of the surface along the direction at points. blend: width over which the edge is
    rounded. The cap's surface projects onto its own cross-section, so that the cut face is filled
    as densely as the rest.
    """
    index = site.same_side(1.2 * site.radius)
    soft = np.float32(blend)

    def move(points: Float32) -> Float32:
        over = points @ direction - cut(points)
        sunk = (over + np.sqrt(over * over + soft * soft)) / 2
        sunk = np.where(over > -3 * soft, sunk - np.float32(0.08) * soft, 0)
        return np.asarray(points - np.maximum(sunk, 0)[:, None] * direction, np.float32)

    return displaced(site, index, move, floor=0.05)


def _dish(site: Site, direction: Float32, depth: float, power: float) -> Height:
    """A cut `depth` under the seed that comes up to the seed's height at the size's outline."""
    top = site.points[site.seed]
    height = np.float32(top @ direction)

    def cut(points: Float32) -> Float32:
        offset = points - top
        up = offset @ direction
        across = np.sqrt(np.clip(np.einsum("ij,ij->i", offset, offset) - up * up, 0, None))
        return np.asarray(height - depth * (1 - (across / site.radius) ** power), np.float32)

    return cut


def flat(site: Site, rng: np.random.Generator) -> Change:
    """A convex place pressed or worn to nearly a plane."""
    direction = _outward(site, 0.3 + 0.7 * rng.random())
    depth = min(float(rng.uniform(0.6, 1.2)) * site.amplitude, 0.2 * site.size)
    depth = min(depth, max(1.3 * _cap_depth(site, direction), 2.5 * site.visible))
    depth = min(depth, _room(site, direction))
    cut = _dish(site, direction, depth, float(rng.uniform(4, 8)))
    return _pressed(site, direction, cut, float(rng.uniform(0.05, 0.5)) * depth)


def broken(site: Site, rng: np.random.Generator) -> Change:
    """A piece broken off an edge, corner or rim, with its rough fracture surface."""
    direction = _outward(site, 0.6 * rng.random())
    tip = _cap_depth(site, direction)
    if tip > 0.2 * site.size and rng.random() < 0.7:
        depth, power = min(tip, 1.5 * site.size), 24.0
    else:
        depth, power = float(rng.uniform(0.12, 0.45)) * site.size, float(rng.uniform(1.5, 4))
    depth = min(depth, _room(site, direction))
    base = _dish(site, direction, depth, power)
    coarse = Waves.random(0.3 * site.size, 1.2 * site.size, rng, 8)
    fine = Waves.random(3 * site.spacing, 0.3 * site.size + 3 * site.spacing, rng, 12)
    relief = np.float32(rng.uniform(0.05, 0.15) * min(depth, 0.3 * site.size))

    def cut(points: Float32) -> Float32:
        grain = coarse(points) + np.float32(0.35) * fine(points)
        return np.asarray(base(points) + relief * grain, np.float32)

    return _pressed(site, direction, cut, 1e-6)


def _room(site: Site, direction: Float32) -> float:
    """How deep a cut may go before it comes out of the opposite wall."""
    return 0.7 * site.thickness() if direction @ site.frame[2] > 0.6 else float("inf")


def _cap_depth(site: Site, direction: Float32) -> float:
    """How deep a plane must cut from the top for the cap to be as wide as the site's size."""
    around = site.points[site.same_side(1.1 * site.radius)]
    height = around @ direction
    under = height.max() - height
    level = around - height[:, None] * direction
    span = np.linalg.norm(level - level[np.argmax(height)], axis=1)
    edge = span > 0.7 * site.radius
    return float(np.quantile(under[edge], 0.2)) if edge.any() else float(0.7 * under.max())


def _outward(site: Site, along_normal: float) -> Float32:
    """Between the surface's normal and the way from the local middle to the seed."""
    out = site.points[site.seed] - site.points[site.ball(1.2 * site.radius)].mean(axis=0)
    out = out / (np.linalg.norm(out) + 1e-9)
    direction = along_normal * site.frame[2] + (1 - along_normal) * out
    return np.asarray(direction / (np.linalg.norm(direction) + 1e-9), np.float32)


def bend(site: Site, rng: np.random.Generator) -> Change:
    """An end of the part turned away, more the further out."""
    along, tip, width = _slimmest_end(site, rng)
    offset = site.points - tip
    depth = offset @ along
    beside = np.sqrt(np.clip(np.einsum("ij,ij->i", offset, offset) - depth * depth, 0, None))
    wide = np.float32(site.size * rng.uniform(0.8, 1.6))
    index = np.flatnonzero((depth > -site.size) & (beside < wide))
    push = _thin_way(site.points[index], along, rng)
    lift = np.float32(1.5 * site.amplitude * min(1.0, (0.5 * site.size / width) ** 2))

    def move(points: Float32) -> Float32:
        offset = points - tip
        t = offset @ along
        beside = np.sqrt(np.clip(np.einsum("ij,ij->i", offset, offset) - t * t, 0, None))
        bow = np.clip(1 + t / np.float32(site.size), 0, 1.2) ** 2
        bow *= profile(np.asarray(beside / wide, np.float32), 0.4)
        return np.asarray(points + (lift * bow)[:, None] * push, np.float32)

    return displaced(site, index, move)


def _slimmest_end(site: Site, rng: np.random.Generator) -> tuple[Float32, Float32, float]:
    """Of some random directions, the one in which the part ends slimmest; that end, its width."""
    some = site.points[:: max(1, len(site.points) // 1500)]
    ways = rng.normal(size=(6, 3)).astype(np.float32)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    height = some @ ways.T
    best, slimmest = 0, np.inf
    for i in range(len(ways)):
        end = some[height[:, i] > height[:, i].max() - site.size]
        wide = float(np.linalg.norm(end.std(axis=0)))
        if wide < slimmest:
            best, slimmest = i, wide
    return ways[best], some[np.argmax(height[:, best])], max(slimmest, 1e-6)


def _thin_way(points: Float32, along: Float32, rng: np.random.Generator) -> Float32:
    """Across an end, mostly the way in which it is thin; to either side."""
    sideways, across, _ = axes_about(along)
    turn = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.7 and len(points) > 3:
        spread = np.cov((points @ np.stack([sideways, across]).T).T)
        thin = np.linalg.eigh(spread)[1][:, 0] * (1 if rng.random() < 0.5 else -1)
        turn = float(np.arctan2(thin[1], thin[0]))
    return np.asarray(np.cos(turn) * sideways + np.sin(turn) * across, np.float32)


DEFECTS: dict[str, Defect] = {
    "bulge": bulge,
    "dent": dent,
    "hole": hole,
    "crack": crack,
    "break": broken,
    "bend": bend,
    "rough": rough,
    "flat": flat,
    "scratch": scratch,
    "excess": excess,
    "shifted": shifted,
    "missing": missing,
}

NEED_FEATURES = frozenset({"missing"})
"""Kinds that only parts with features can have."""

PROTRUDING = frozenset({"break", "flat"})
"""Kinds that need a place that stands out: an edge, a corner, a convex face."""

FACING = frozenset({"bulge", "dent", "hole", "crack"})
"""Kinds that like a place whose surroundings face the same way."""

FEATURED = frozenset({"shifted"})
"""Kinds that need a place where the surface turns: what is there can be moved."""
