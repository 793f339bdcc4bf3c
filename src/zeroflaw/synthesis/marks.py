"""Defects that a tool or a weld leaves behind: scratches, beads, fins."""

from __future__ import annotations

import numpy as np

from zeroflaw.synthesis.change import Change, displaced
from zeroflaw.synthesis.patch import Footprint, Site, Waves, profile
from zeroflaw.types import Float32


def scratch(site: Site, rng: np.random.Generator) -> Change:
    """One or a few long, shallow grooves side by side, sometimes with thrown-up edges."""
    print_ = Footprint.random(site, rng)
    length = site.radius
    width = max(1.6 * site.spacing, float(rng.uniform(0.012, 0.04)) * site.size)
    bow, tilt = rng.normal() * 0.15 * length, rng.normal() * 0.1
    lines = (rng.uniform(-4, 4, int(rng.integers(1, 4))) * width).astype(np.float32)
    burr = float(rng.uniform(0.2, 0.5)) if rng.random() < 0.4 else 0.0
    deepest = min(max(0.4 * site.amplitude, 2 * site.visible), 0.9 * width)
    index = site.same_side(1.2 * site.radius)
    normals = site.normals[index]

    def move(points: Float32) -> Float32:
        u, v, w = print_.local(points).T
        t = u / np.float32(length)
        taper = np.clip(1 - t**4, 0, 1) * (np.abs(w) < site.radius)
        path = np.float32(bow) * (t * t - np.float32(0.3)) + np.float32(tilt) * u
        groove = np.zeros(len(points), np.float32)
        for line in lines:
            reach = np.abs(v - path - line) / np.float32(width)
            one = profile(reach, 0.0)
            if burr:
                one = one - np.float32(burr) * profile(np.abs(reach - 1.2) * 2, 0.0)
            groove = np.where(np.abs(one) > np.abs(groove), one, groove)
        return np.asarray(points - (np.float32(deepest) * taper * groove)[:, None] * normals)

    return displaced(site, index, move)


def excess(site: Site, rng: np.random.Generator) -> Change:
    """Material that was left over: a drop, a spray of weld beads, or a thin fin."""
    if rng.random() < 0.35:
        return _fin(site, rng)
    index = site.same_side(1.3 * site.radius)
    normals = site.normals[index]
    beads = int(rng.integers(2, 9)) if rng.random() < 0.6 else 1
    smallest = 2.5 * site.spacing
    share = (0.5, 0.9) if beads == 1 else (0.12, 0.4)
    radius = np.maximum(rng.uniform(*share, beads) * site.radius, smallest).astype(np.float32)
    around = site.same_side(max(site.radius - float(radius.max()), smallest))
    middle = site.points[rng.choice(around, beads)]
    middle[0] = site.points[site.seed]
    tall = rng.uniform(0.35, 0.9, beads).astype(np.float32) * radius
    tall = np.maximum(np.minimum(tall, 2 * site.amplitude), 2 * site.visible).astype(np.float32)
    grain = Waves.random(0.5 * site.size, 1.5 * site.size, rng, 6)

    def move(points: Float32) -> Float32:
        height = np.zeros(len(points), np.float32)
        wobble = 1 + np.float32(0.15) * grain(points)
        for place, reach, high in zip(middle, radius, tall, strict=True):
            offset = points - place
            square = np.einsum("ij,ij->i", offset, offset) * (wobble / reach) ** 2
            drop = np.sqrt(np.clip(1 - square, 0, 1)) * np.clip(6 * (1 - square), 0, 1)
            height = np.maximum(height, high * drop)
        return np.asarray(points + height[:, None] * normals, np.float32)

    return displaced(site, index, move)


def _fin(site: Site, rng: np.random.Generator) -> Change:
    """A thin ridge, as a mould leaves where its halves meet."""
    print_ = Footprint.random(site, rng)
    length = site.radius
    width = max(1.8 * site.spacing, float(rng.uniform(0.02, 0.06)) * site.size)
    high = min(max(site.amplitude, 2.5 * site.visible), 1.5 * width)
    bow = rng.normal() * 0.1 * length
    grain = Waves.random(0.2 * site.size, site.size, rng, 6)
    index = site.same_side(1.2 * site.radius)
    normals = site.normals[index]

    def move(points: Float32) -> Float32:
        u, v, _ = print_.local(points).T
        t = u / np.float32(length)
        ridge = profile(np.abs(v - np.float32(bow) * t * t) / np.float32(width), 0.3)
        ridge = (
            ridge * np.clip(1 - t**4, 0, 1) * np.clip(1 + np.float32(0.3) * grain(points), 0.2, 2)
        )
        return np.asarray(points + (np.float32(high) * ridge)[:, None] * normals, np.float32)

    return displaced(site, index, move)
