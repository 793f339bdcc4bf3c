"""Where to look from: orthographic views around a scan, and how to frame it in a picture.

Reports show four views; view-based detectors read those of `PRESETS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zeroflaw.types import Float32, Float64, Int64, Scan

FEW = 20_000  # points that are enough to judge extent and orientation
AZIMUTHS = (30.0, 120.0, 210.0, 300.0)  # degrees: every face of a box is seen in two of them
ELEVATION = 25.0
SENSOR_ANGLES = ((0.0, 0.0), (-40.0, 10.0), (40.0, 10.0), (0.0, 50.0))


def turns_about(axis: str, degrees: Sequence[float]) -> Float32:
    """Rotations (V, 3, 3) of a scan about its "x" or "y" axis, counter-clockwise."""
    angle = np.deg2rad(np.asarray(degrees, dtype=np.float64))
    first, second = {"x": (1, 2), "y": (2, 0)}[axis]
    turns = np.tile(np.eye(3), (len(angle), 1, 1))
    turns[:, first, first] = turns[:, second, second] = np.cos(angle)
    turns[:, second, first] = np.sin(angle)
    turns[:, first, second] = -turns[:, second, first]
    return turns.astype(np.float32)


# The views of PointAD (NeurIPS 2024), GS-CLIP and Align3D-AD: rows right, up, toward the viewer.
PRESETS: dict[str, Float32] = {
    "front": np.concatenate(
        [
            turns_about("x", (-45.0, -15.0, 0.0, 15.0, 45.0)),
            turns_about("y", (-30.0, -15.0, 15.0, 30.0)),
        ]
    ),
    "around": turns_about("x", tuple(range(-144, 145, 36))),
}


@dataclass(frozen=True, eq=False)
class View:
    """An orthographic camera. rotation: (3, 3), its rows right, up and toward the viewer."""

    name: str
    rotation: Float64


@dataclass(frozen=True, eq=False)
class Frame:
    """What a picture shows: `center` (3,) of the scan lies in its middle; in the scan's unit."""

    center: Float64
    width: float
    height: float


def four_views(scan: Scan) -> tuple[View, View, View, View]:
    """Four views that together show a scan's surface.

    An organised scan was measured from one side: the views stay on that side. Around any other
    scan they turn about its longest axis, in turn a little from above and from below, so that no
    face of a part stays unseen.
    """
    facing = _facing_sensor(scan)
    if facing is not None:
        names = ("front", "left", "right", "top")
        turns = [_turned(facing, *angles) for angles in SENSOR_ANGLES]
    else:
        names = ("front", "right", "back", "left")
        upright = _upright(scan.points)
        signs = (1.0, -1.0, 1.0, -1.0)
        turns = [
            _turned(upright, azimuth, sign * ELEVATION)
            for azimuth, sign in zip(AZIMUTHS, signs, strict=True)
        ]
    first, second, third, fourth = (View(*pair) for pair in zip(names, turns, strict=True))
    return first, second, third, fourth


def preset_rotations(scan: Scan, preset: str | None = None) -> Float32:
    """The rotations (9, 3, 3) of a preset's views of a scan.

    preset: "front" or "around"; by default "front" for an organised scan and "around" for any
    other. The front of an organised scan is the side that its sensor saw, told from the order of
    its grid: rotations of "front" start there. Raises ValueError for an unknown preset.
    """
    facing = _facing_sensor(scan)
    chosen = preset or ("around" if scan.grid is None else "front")
    if chosen not in PRESETS:
        raise ValueError(f"unknown views {chosen!r}; choose {' or '.join(PRESETS)}")
    if chosen != "front" or facing is None:
        return PRESETS[chosen]
    return (PRESETS[chosen] @ facing).astype(np.float32)


def frame(points: Float64, views: Sequence[View], margin: float = 0.06) -> Frame:
    """One frame that fits the points in all views, so that lengths compare between pictures.

    A few stray points far away do not shrink the rest: beyond half again the extent of the middle
    99 %, they are left outside.
    """
    few = points[:: max(1, len(points) // FEW)]
    low, high = _steady_range(points, few)
    center = (low + high) / 2
    local = few - center
    halves = []
    for view in views:
        across = local @ view.rotation[:2].T
        reach = np.max(np.abs(np.stack(_steady_range(across, across))), axis=0)
        halves.append(reach)
    width, height = 2 * (1 + 2 * margin) * np.max(halves, axis=0)
    least = max(float(width), float(height), 1e-9)
    return Frame(center, max(float(width), 0.05 * least), max(float(height), 0.05 * least))


def _steady_range(points: Float64, few: Float64) -> tuple[Float64, Float64]:
    low, high = points.min(axis=0), points.max(axis=0)
    inner = np.quantile(few, (0.005, 0.995), axis=0)
    reach = 0.25 * (inner[1] - inner[0])
    return np.maximum(low, inner[0] - reach), np.minimum(high, inner[1] + reach)


def _facing_sensor(scan: Scan) -> Float64 | None:
    """The view of the sensor, from the usual step between cells beside and below each other."""
    if scan.grid is None:
        return None
    cells = np.arange(len(scan)) if scan.valid is None else np.flatnonzero(scan.valid)
    if len(cells) != len(scan) or len(cells) == 0 or cells[-1] >= scan.grid[0] * scan.grid[1]:
        return None
    index = np.full(scan.grid, -1)
    index.ravel()[cells] = np.arange(len(scan))
    right = _usual_step(scan.points, index[:, :-1], index[:, 1:])
    down = _usual_step(scan.points, index[:-1], index[1:])
    return None if right is None or down is None else _axes(right, -down)


def _usual_step(points: Float64, start: Int64, end: Int64) -> Float64 | None:
    """The median, by coordinate, of the steps between neighbouring cells; None without any."""
    both = np.flatnonzero((start >= 0) & (end >= 0))
    both = both[:: max(1, len(both) // FEW)]
    steps = points[end.ravel()[both]] - points[start.ravel()[both]]
    if len(steps) == 0:
        return None
    median: Float64 = np.median(steps, axis=0)
    return median


def _axes(right: Float64, up: Float64) -> Float64 | None:
    """Right, up, toward the viewer as rows, or None where right and up are no plane."""
    length = float(np.linalg.norm(right))
    if not length > 0:
        return None
    right = right / length
    up = up - right * float(up @ right)
    length = float(np.linalg.norm(up))
    if not length > 1e-9:
        return None
    up = up / length
    return np.stack([right, up, np.cross(right, up)])


def _upright(points: Float64) -> Float64:
    """The scan's own axes, or its principal ones where they fit it much closer; longest axis up."""
    few = points[:: max(1, len(points) // FEW)]
    local = few - few.mean(axis=0)
    own = np.eye(3)
    principal = np.linalg.eigh(local.T @ local)[1].T
    for axis in principal:
        axis *= np.sign(axis[np.argmax(np.abs(axis))])
    own_extent = np.ptp(local, axis=0)
    principal_extent = np.ptp(local @ principal.T, axis=0)
    if np.prod(principal_extent) < 0.6 * np.prod(own_extent):
        own, own_extent = principal, principal_extent
    # Among axes of nearly the same length the last wins: z is up in most part frames.
    longest = max(range(3), key=lambda axis: (own_extent[axis] > 0.8 * own_extent.max(), axis))
    up, right = own[longest], own[(longest + 1) % 3]
    return np.stack([right, up, np.cross(right, up)])


def _turned(axes: Float64, azimuth: float, elevation: float) -> Float64:
    """The camera moved around the up axis to the right, then up, both in degrees."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    right, up, toward = axes
    across = np.cos(a) * right - np.sin(a) * toward
    outward = np.sin(a) * right + np.cos(a) * toward
    lifted = np.cos(e) * up - np.sin(e) * outward
    return np.stack([across, lifted, np.cos(e) * outward + np.sin(e) * up])
