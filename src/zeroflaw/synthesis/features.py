"""Defects of what a part is made of: a feature that is not where it belongs."""

from __future__ import annotations

import numpy as np

from zeroflaw.synthesis.change import Change, displaced
from zeroflaw.synthesis.patch import Footprint, Site, profile
from zeroflaw.types import Float32


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
