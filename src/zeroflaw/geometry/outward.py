"""Which side of a surface is outside the material."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zeroflaw.types import Float64, Int64, Scan

SEEN = 16_384  # points of a scan that may stand before the sky
TURNS, STEPS = 16, 8  # equal parts of the sky above the horizon: around it, and upwards
HORIZON = 0.2  # sine of the height that is left out: a surface hides that much of itself
MORE = 0.5  # share of the sky by which one side must see more
HARDLY = 0.1  # share of the sky that the inside of a part sees at most
LITTLE_MORE = 0.1  # share by which the other side must see more then
AGREE = 0.5  # least mean cosine between a surface's normal and those that the file gives


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The scan, and those of its points that may stand before the sky, (S, 3).

    cells: (N,), of an organised scan, where in the grid its points lie; else None.
    """

    scan: Scan
    points: Float64
    cells: Int64 | None

    @staticmethod
    def of(scan: Scan) -> Surroundings:
        """Of a large scan, a seeded sample of its points hides the sky."""
        points = scan.points
        if len(points) > SEEN:
            rng = np.random.default_rng(0)
            points = points[rng.choice(len(points), SEEN, replace=False, shuffle=False)]
        cells = None
        if scan.grid is not None:
            cells = np.arange(len(scan)) if scan.valid is None else np.flatnonzero(scan.valid)
        return Surroundings(scan, points, cells)

    def outside(self, place: Float64, normal: Float64, index: Int64) -> int:
        """1 where a surface's normal points outside the material, −1 where inside, 0 unknown.

        place, normal: (3,); index: the scan's points that show the surface around the place. In an
        organised scan the outside faces the sensor, columns running to its right and rows down.
        Otherwise it is the side that sees more of the sky: all of it or nothing on a part that was
        scanned all around. Where that does not tell, as on a flat sheet seen from one side, the
        normals in the file do, if there are any and they agree.
        """
        up = normal / np.linalg.norm(normal)
        if self.scan.grid is not None and self.cells is not None:
            row, column = np.divmod(self.cells[index], self.scan.grid[1])
            return _towards_sensor(self.scan.points[index], row, column, up)
        return self._towards_sky(place, up) or self._as_filed(up, index)

    def _towards_sky(self, place: Float64, up: Float64) -> int:
        side = np.cross(up, np.eye(3)[np.abs(up).argmin()])
        side /= np.linalg.norm(side)
        x, y, z = ((self.points - place) @ np.stack([side, np.cross(up, side), up]).T).T
        height = z / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-300)
        turn = ((np.arctan2(y, x) / np.pi + 1) * (TURNS / 2)).astype(np.int64) % TURNS
        step = ((np.abs(height) - HORIZON) / (1 - HORIZON) * STEPS).astype(np.int64)
        part = np.minimum(step, STEPS - 1) * TURNS + turn
        hidden = [
            np.count_nonzero(np.bincount(part[there])) / (TURNS * STEPS)
            for there in (height > HORIZON, height < -HORIZON)
        ]
        more = abs(hidden[1] - hidden[0])
        if more >= MORE or (max(hidden) >= 1 - HARDLY and more >= LITTLE_MORE):
            return 1 if hidden[1] > hidden[0] else -1
        return 0

    def _as_filed(self, up: Float64, index: Int64) -> int:
        if self.scan.normals is None:
            return 0
        agree = float((self.scan.normals[index] @ up).mean())
        return 0 if abs(agree) < AGREE else int(np.sign(agree))


def _towards_sensor(points: Float64, row: Int64, column: Int64, up: Float64) -> int:
    """1 where the normal of points (K, 3) points towards the sensor that saw them in a grid."""
    terms = np.stack([np.ones(len(row)), column - column.mean(), row - row.mean()], axis=1)
    right, down = np.linalg.lstsq(terms, points - points.mean(axis=0), rcond=None)[0][1:]
    return int(np.sign(np.cross(down, right) @ up))
