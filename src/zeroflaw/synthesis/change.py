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
    added, added_normals: (A, 3) new surface; added_deviation: (A,); added_defective: (A,), None
    for all. added_rays: (A, 3), to the viewer, where it is known that the sensor sees all of it;
    else None. size: diameter of the defect where it is not the site's.
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
    added_defective: Bool | None = None
    added_rays: Float32 | None = None
    size: float | None = None


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


def unchanged() -> Change:
    """No defect at all: the site cannot bear one of the kind."""
    none = np.zeros(0, np.int64)
    points, normals, away = nothing()
    gone = none.astype(bool)
    return Change(none, points, normals, away, away, gone, points, normals, away)
