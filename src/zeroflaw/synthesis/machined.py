"""Parametric machine parts: plates with holes, brackets, flanges, gears, shafts."""

from __future__ import annotations

import numpy as np

from zeroflaw.synthesis.shapes import Mesh, Shape
from zeroflaw.synthesis.sweeps import extruded, joined, revolved
from zeroflaw.types import Float64


def circle(x: float, y: float, radius: float, points: int = 40) -> Float64:
    """A round outline (points, 2)."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def rounded_rectangle(width: float, depth: float, radius: float) -> Float64:
    """A rectangle about the origin with round corners; (40, 2)."""
    corners = []
    for turn, (sx, sy) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        angle = np.linspace(0, np.pi / 2, 10) + turn * np.pi / 2
        middle = np.array([sx * (width / 2 - radius), sy * (depth / 2 - radius)])
        corners.append(middle + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    return np.concatenate(corners)


def _rounded_profile(corners: Float64, radius: float) -> Float64:
    """A profile whose inner corners are rounded by arcs of about a radius."""
    pieces = [corners[:1]]
    for before, corner, after in zip(corners[:-2], corners[1:-1], corners[2:], strict=True):
        reach = min(
            radius, 0.45 * np.linalg.norm(corner - before), 0.45 * np.linalg.norm(after - corner)
        )
        start = corner + reach * (before - corner) / (np.linalg.norm(before - corner) + 1e-12)
        end = corner + reach * (after - corner) / (np.linalg.norm(after - corner) + 1e-12)
        t = np.linspace(0, 1, 7)[:, None]
        pieces.append((1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end)
    return np.concatenate([*pieces, corners[-1:]])


def plate(rng: np.random.Generator) -> Shape:
    """A plate with a pattern of holes and sometimes a boss."""
    width, depth, height = 2.0, rng.uniform(0.8, 2.0), rng.uniform(0.08, 0.3)
    holes = []
    columns, rows = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    pitch_x, pitch_y = width / (columns + 1), depth / (rows + 1)
    bore = rng.uniform(0.1, 0.33) * min(pitch_x, pitch_y)
    for i in range(columns):
        for j in range(rows):
            x, y = (i + 1) * pitch_x - width / 2, (j + 1) * pitch_y - depth / 2
            holes.append(circle(x, y, bore, 28))
    outline = rounded_rectangle(width, depth, rng.uniform(0.03, 0.3) * depth)
    parts = [extruded([outline, *holes], height, 0.08)]
    if rng.random() < 0.4:
        at = [pitch_x / 2 if columns % 2 else 0.0, pitch_y / 2 if rows % 2 else 0.0, height - 0.01]
        size = 0.7 * min(pitch_x, pitch_y) - bore
        profile = np.array([[0, 0], [size, 0], [0.8 * size, 0.3], [0, 0.3]])
        boss, faces = revolved(_rounded_profile(profile, 0.06), 40)
        parts.append((boss + at, faces))
    return joined(parts, "plate")


def bracket(rng: np.random.Generator) -> Shape:
    """An angle bracket: two plates with holes and a rib."""
    width, height = rng.uniform(0.6, 1.4), rng.uniform(0.08, 0.18)
    legs: list[Mesh] = []
    for length, upright in ((rng.uniform(0.8, 1.6), False), (rng.uniform(0.8, 1.6), True)):
        outline = rounded_rectangle(length, width, 0.12 * width)
        bore = rng.uniform(0.08, 0.18) * width
        holes = [circle(x, 0.0, bore, 28) for x in np.array([-0.1, 0.28]) * length]
        vertices, faces = extruded([outline, *holes], height, 0.07)
        vertices[:, 0] += length / 2
        if upright:
            vertices = np.stack([vertices[:, 2], vertices[:, 1], vertices[:, 0]], axis=1)
        legs.append((vertices, faces))
    if rng.random() < 0.6:
        reach = rng.uniform(0.3, 0.6)
        corner = 0.5 * height
        triangle = np.array([[corner, corner], [corner + reach, corner], [corner, corner + reach]])
        rib, faces = extruded([triangle], 0.12 * width, 0.06)
        rib = np.stack([rib[:, 0], rib[:, 2] - 0.06 * width, rib[:, 1]], axis=1)
        legs.append((rib, faces))
    return joined(legs, "bracket")


def flange(rng: np.random.Generator) -> Shape:
    """A hub on a disc with a bore and bolt holes."""
    rim, hub, bore = 1.0, rng.uniform(0.35, 0.55), rng.uniform(0.15, 0.28)
    thick, tall = rng.uniform(0.1, 0.25), rng.uniform(0.4, 0.9)
    bolts = int(rng.integers(3, 9))
    turn = np.linspace(0, 2 * np.pi, bolts, endpoint=False)
    ring = (rim + hub) / 2
    size = min(0.3 * (rim - hub), 0.3 * ring * np.pi / bolts)
    holes = [circle(ring * np.cos(a), ring * np.sin(a), size, 24) for a in turn]
    disc = extruded([circle(0, 0, rim, 96), circle(0, 0, bore, 48), *holes], thick, 0.07)
    profile = np.array(
        [[bore, 0.0], [hub + 0.09, thick - 0.01], [hub, thick + 0.1], [hub, tall], [bore, tall]]
    )
    closed = np.concatenate([_rounded_profile(profile[1:], 0.06), [[bore, tall], [bore, 0.0]]])
    return joined([disc, revolved(closed, 72)], "flange")


def gear(rng: np.random.Generator) -> Shape:
    """A spur gear with a bore and sometimes lightening holes."""
    teeth, depth = int(rng.integers(9, 36)), rng.uniform(0.06, 0.2)
    angle = np.linspace(0, 2 * np.pi, teeth * 8, endpoint=False)
    wave = np.clip(1.8 * np.sin(teeth * angle), -1, 1)
    radius = 1 - depth / 2 + depth / 2 * wave
    outline = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    bore = rng.uniform(0.12, 0.3)
    holes = [circle(0, 0, bore, 36)]
    if rng.random() < 0.6:
        count = int(rng.integers(3, 7))
        ring = (bore + 1 - depth) / 2
        size = min(0.3 * (1 - depth - bore), 0.6 * ring * np.pi / count)
        turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
        holes += [circle(ring * np.cos(a), ring * np.sin(a), size, 24) for a in turn]
    parts = [extruded([outline, *holes], rng.uniform(0.15, 0.5), 0.09)]
    return joined(parts, "gear")


def shaft(rng: np.random.Generator) -> Shape:
    """A stepped shaft with grooves and rounded steps."""
    steps = int(rng.integers(3, 8))
    radii = rng.uniform(0.2, 0.6, steps)
    ends = np.concatenate([[0], np.cumsum(rng.uniform(0.2, 1.0, steps))])
    corners = [[0.0, 0.0]]
    for radius, low, high in zip(radii, ends[:-1], ends[1:], strict=True):
        corners += [[radius, low], [radius, high]]
    corners.append([0.0, float(ends[-1])])
    profile = _rounded_profile(np.array(corners), rng.uniform(0.01, 0.06))
    return joined([revolved(profile, 64)], "shaft")
