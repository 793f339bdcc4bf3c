"""Defects of what a part is made of: a feature that is absent or not where it belongs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zeroflaw.synthesis.change import Change, displaced, unchanged
from zeroflaw.synthesis.parts import Feature, enclosed
from zeroflaw.synthesis.patch import Footprint, Site, distance_from, profile
from zeroflaw.synthesis.sensor import PIXEL_SPACINGS, look
from zeroflaw.synthesis.surfaces import sample_triangles
from zeroflaw.types import Bool, Float32, Int64


def shifted(site: Site, rng: np.random.Generator) -> Change:
    """A feature sits beside its place: the surface under the site is slid along itself."""
    print_ = Footprint.random(site, rng, irregular=0.3)
    way = rng.uniform(0, 2 * np.pi)
    along = np.float32(np.cos(way)) * site.frame[0] + np.float32(np.sin(way)) * site.frame[1]
    sharpness = float(rng.uniform(0.3, 0.6))
    far = min(max(site.amplitude, 4 * site.visible), 0.3 * site.radius * (1 - 0.75 * sharpness))
    index = site.same_side(1.5 * site.radius)

    def move(points: Float32) -> Float32:
        hill = profile(print_.reach(points), sharpness)
        return np.asarray(points + (np.float32(far) * hill)[:, None] * along, np.float32)

    return displaced(site, index, move, floor=0.05)


def missing(site: Site, rng: np.random.Generator) -> Change:
    """A boss, rib, limb or handle is absent; labelled is the surface that it would have covered."""
    part = site.part
    if not part.features:
        return unchanged()
    feature = part.features[int(rng.integers(len(part.features)))]()
    goes = feature.gone[part.face]
    index = np.flatnonzero(goes[part.seen])
    if not 12 <= len(index) <= 0.4 * len(part.seen):
        return unchanged()
    bare = _laid_bare(site, feature, goes, rng)
    away = -np.abs(distance_from(site, index, bare.points, 1.0))
    away[~bare.covered] = 0
    defective = away < -site.visible
    within = _seen_within(site, goes) if feature.come is None else index[:0]
    before = -np.abs(distance_from(site, index, site.points[within], 1.0))
    count = int(defective.sum() + (before < -site.visible).sum())
    both = np.concatenate([index, within])
    return Change(
        index=both,
        points=site.points[both],
        normals=site.normals[both],
        area=np.repeat(np.arange(2, dtype=np.float32), [len(index), len(within)]),
        deviation=np.concatenate([np.zeros(len(index), np.float32), before]),
        defective=np.concatenate([np.zeros(len(index), dtype=bool), before < -site.visible]),
        added=bare.points,
        added_normals=bare.normals,
        added_deviation=away,
        added_defective=defective,
        added_rays=bare.rays,
        size=2 * site.spacing * float(np.sqrt(count / np.pi)),
    )


def _seen_within(site: Site, goes: Bool) -> Int64:
    """Which of the site's points lie within a feature: the sensor saw some of them all the same.

    A depth buffer tells a flat face from what stands on it only to within its cells.
    """
    part = site.part
    body = part.points[goes]
    inside = ((site.points > body.min(axis=0)) & (site.points < body.max(axis=0))).all(axis=1)
    rows = np.flatnonzero(inside & ~goes[part.seen])
    covered = enclosed(site.points[rows], body, part.normals[goes], site.spacing**2)
    return np.asarray(rows[covered])


@dataclass(frozen=True, eq=False)
class _Bare:
    """Surface seen without a feature only. covered: the feature lay on it, not just before it."""

    points: Float32
    normals: Float32
    rays: Float32
    covered: Bool


def _laid_bare(site: Site, feature: Feature, goes: Bool, rng: np.random.Generator) -> _Bare:
    """What the sensor sees of the part without the feature and had not seen with it."""
    part = site.part
    stays = np.flatnonzero(~goes)
    points, normals = part.points[stays], part.normals[stays]
    fresh = np.ones(len(part.points), dtype=bool)
    fresh[part.seen] = False
    fresh = fresh[stays]
    if feature.come is not None and feature.come.area > 0:
        count = max(1, round(feature.come.area / site.spacing**2))
        come = sample_triangles(feature.come, count, rng)
        points = np.concatenate([points, come.points @ part.turn.T])
        normals = np.concatenate([normals, come.normals @ part.turn.T])
        fresh = np.append(fresh, np.ones(count, dtype=bool))
    sight = look(points, normals, part.sensor, PIXEL_SPACINGS * site.spacing)
    new = fresh[sight.index]
    rows, rays = sight.index[new], sight.ray[new]
    points, normals = points[rows], normals[rows]
    normals[np.einsum("ij,ij->i", normals, rays) < 0] *= -1
    covered = rows >= len(stays)
    if feature.come is None:
        covered = enclosed(points, part.points[goes], part.normals[goes], site.spacing**2)
    return _Bare(points, normals, rays, covered)
