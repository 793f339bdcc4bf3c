"""Defects of what a part is made of: a feature that is missing, or not where it belongs."""

from __future__ import annotations

import numpy as np

from zeroflaw.synthesis.change import Change, displaced
from zeroflaw.synthesis.patch import Footprint, Site, profile
from zeroflaw.types import Float32


def missing(site: Site, rng: np.random.Generator) -> Change:
    """A feature that stands out or lies in is not there: the surface around it goes straight on.

    The base is a plane or a gentle bow fitted to a ring around the site.
    """
    index = site.same_side(1.5 * site.radius)
    local = (site.points[index] - site.points[site.seed]) @ site.frame.T
    across = np.hypot(local[:, 0], local[:, 1])
    ring = (across > 0.95 * site.radius) & (site.normals[index] @ site.frame[2] > 0.3)
    if ring.sum() < 12:
        ring = across > 0.8 * site.radius
    base = _fitted(local[ring])
    sharpness = float(rng.uniform(0.6, 0.85))
    left = float(rng.uniform(0.0, 0.25))
    middle, frame = site.points[site.seed], site.frame

    def move(points: Float32) -> Float32:
        at = (points - middle) @ frame.T
        reach = np.hypot(at[:, 0], at[:, 1]) / np.float32(1.1 * site.radius)
        height = at[:, 2] - _height(base, at)
        down = profile(reach, sharpness) * np.float32(1 - left) * height
        return np.asarray(points - down[:, None] * frame[2], np.float32)

    return displaced(site, index, move, floor=0.05)


def _fitted(local: Float32) -> Float32:
    """Coefficients of height over 1, u and v, robustly; (3,)."""
    design = np.stack([np.ones(len(local)), local[:, 0], local[:, 1]], axis=1)
    weight = np.ones(len(local))
    found = np.zeros(3)
    for _ in range(4):
        root = np.sqrt(weight)[:, None]
        found = np.linalg.lstsq(design * root, local[:, 2] * root[:, 0], rcond=None)[0]
        off = np.abs(local[:, 2] - design @ found)
        weight = 1 / (1 + (off / (np.median(off) + 1e-6)) ** 2)
    return np.asarray(found, np.float32)


def _height(base: Float32, local: Float32) -> Float32:
    return np.asarray(base[0] + base[1] * local[:, 0] + base[2] * local[:, 1], np.float32)


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
