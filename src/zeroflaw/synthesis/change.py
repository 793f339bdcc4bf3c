"""What a defect does to the surface, and how a displacement becomes one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zeroflaw.synthesis.patch import Map, Site, deform, deviation
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


def displaced(site: Site, index: Int64, move: Map, *, floor: float = 0.12) -> Change:
    """A pure displacement; what moves less than `floor` of the peak is not labelled either."""
    points, normals = site.points[index], site.normals[index]
    moved, turned, area = deform(points, normals, move, 0.2 * site.spacing)
    away = deviation(site, index, moved)
    peak = float(np.abs(away).max(initial=0))
    defective = np.abs(away) > max(site.visible, floor * peak)
    return Change(index, moved, turned, area, away, defective, *nothing())


def nothing() -> tuple[Float32, Float32, Float32]:
    """No added surface: points, normals and deviations."""
    return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
