"""Parametric parts of smooth or filleted forms: figures, fruit, castings, housings, handles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np

from zeroflaw.synthesis.implicit import (
    Field,
    ball,
    block,
    capsule,
    merged,
    meshed,
    rod,
    without,
)
from zeroflaw.synthesis.shapes import Shape
from zeroflaw.synthesis.sweeps import shaped
from zeroflaw.types import Float32, Float64


def _shape(
    field: Field, low: list[float], high: list[float], name: str, variants: Sequence[Field] = ()
) -> Shape:
    """variants: the part without one of its features each."""
    box = np.array(low), np.array(high)
    vertices, faces = meshed(field, *box)
    others = tuple(partial(meshed, other, *box) for other in variants)
    return replace(shaped(vertices, faces, name), variants=others)


def _without_one(parts: list[Field], first: int, fillet: float) -> list[Field]:
    """The blends of all parts but one, for each of them from number `first` on."""
    kept = [[*parts[:i], *parts[i + 1 :]] for i in range(first, len(parts))]
    return [merged(some, fillet) for some in kept]


def _mirrored(fields: list[tuple[Float64, Float64, float, float]]) -> list[Field]:
    """Rods with round ends and their mirror images in y."""
    flip = np.array([1.0, -1.0, 1.0])
    both = []
    for start, end, radius, taper in fields:
        both += [
            capsule(start, end, radius, taper),
            capsule(start * flip, end * flip, radius, taper),
        ]
    return both


def animal(rng: np.random.Generator) -> Shape:
    """A figure with a body, a head and limbs, the same on both sides."""
    long, wide, tall = rng.uniform(0.5, 0.9), rng.uniform(0.22, 0.4), rng.uniform(0.25, 0.4)
    head = np.array([long * rng.uniform(0.9, 1.2), 0.0, tall * rng.uniform(0.3, 1.8)])
    size = rng.uniform(0.16, 0.3)
    parts = [
        ball(np.zeros(3), np.array([long, wide, tall])),
        ball(head, size * rng.uniform(0.85, 1.25, 3)),
        capsule(np.array([long * 0.6, 0, tall * 0.3]), head, 0.6 * size),
    ]
    limbs = []
    for place in rng.uniform(0.45, 0.75, 2) * [1, -1]:
        hip = np.array([place * long, 0.6 * wide, -0.5 * tall])
        step = np.array([rng.uniform(-0.1, 0.15), rng.uniform(0, 0.15), -rng.uniform(0.3, 0.7)])
        foot = hip + step
        limbs.append((hip, foot, rng.uniform(0.07, 0.14), rng.uniform(0.6, 1.1)))
    if rng.random() < 0.7:
        ear = head + np.array([0.0, 0.5 * size, 0.6 * size])
        tip = ear + size * np.array(
            [rng.uniform(-0.5, 0.3), rng.uniform(0, 0.6), rng.uniform(0.3, 1.2)]
        )
        limbs.append((ear, tip, rng.uniform(0.06, 0.1), rng.uniform(0.5, 1.0)))
    parts += _mirrored(limbs)
    if rng.random() < 0.6:
        end = np.array([-long - rng.uniform(0.2, 0.5), 0, rng.uniform(-0.1, 0.5)])
        parts.append(capsule(np.array([-0.8 * long, 0, 0.1]), end, rng.uniform(0.06, 0.12), 0.7))
    fillet = rng.uniform(0.08, 0.25)
    without_limb = _without_one(parts, 3, fillet)
    low, high = [-1.5, -0.8, -1.2], [1.6, 0.8, 1.3]
    return _shape(merged(parts, fillet), low, high, "animal", without_limb)


def fruit(rng: np.random.Generator) -> Shape:
    """A round or long body with ribs or a dimple, sometimes with a stalk."""
    radii = np.array([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.6, 1.3)])
    ribs, deep = int(rng.integers(3, 10)), rng.uniform(0, 0.06)
    dimple, reach = rng.uniform(0, 0.25), rng.uniform(0.15, 0.4)
    bow = rng.uniform(0, 0.5)
    body = ball(np.zeros(3), radii)
    stalk = capsule(
        np.array([0, 0, 0.8 * radii[2]]),
        np.array(
            [rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2), radii[2] + rng.uniform(0.1, 0.4)]
        ),
        rng.uniform(0.05, 0.1),
    )
    with_stalk = rng.random() < 0.5

    def field(at: Float32) -> Float32:
        bent = at.copy()
        bent[0] = bent[0] + np.float32(bow) * (at[2] ** 2 - np.float32(0.4))
        angle = np.arctan2(bent[1], bent[0])
        across = np.hypot(bent[0], bent[1])
        value = body(bent) + np.float32(deep) * np.cos(ribs * angle) * np.minimum(across, 1)
        sink = np.float32(dimple) * np.exp(-((across / np.float32(reach)) ** 2)) * (bent[2] > 0)
        value = value + sink
        return np.asarray(np.minimum(value, stalk(at)) if with_stalk else value, np.float32)

    return _shape(field, [-1.7, -1.2, -1.8], [1.7, 1.2, 2.1], "fruit")


def casting(rng: np.random.Generator) -> Shape:
    """A cast base with draft, bosses with bores, and ribs between them, all filleted."""
    half = np.array([1.0, rng.uniform(0.5, 1.0), rng.uniform(0.1, 0.25)])
    draft = rng.uniform(0.03, 0.15)
    parts, tools = [block(np.zeros(3), half, 0.06, draft)], []
    columns = int(rng.integers(1, 4))
    sides = [1.0] if rng.random() < 0.3 else [1.0, -1.0]
    tall, radius = rng.uniform(0.2, 0.6), rng.uniform(0.14, 0.26)
    bore = rng.uniform(0.35, 0.65) * radius
    through = rng.random() < 0.5
    for x in np.linspace(-0.65, 0.65, columns) if columns > 1 else np.zeros(1):
        for side in sides:
            y = side * rng.uniform(0.5, 0.5) * half[1] if len(sides) > 1 else 0.0
            parts.append(rod(np.array([x, y, half[2] + tall / 2]), 2, radius, tall / 2))
            low = -1.0 if through else half[2]
            high = half[2] + tall + 0.2
            tools.append(rod(np.array([x, y, (low + high) / 2]), 2, bore, (high - low) / 2))
    ribs = int(rng.integers(0, 4))
    for y in np.linspace(-0.5, 0.5, ribs) * half[1] if ribs else []:
        middle = np.array([0, y, half[2] + 0.3 * tall])
        parts.append(block(middle, np.array([0.8, 0.05, 0.3 * tall + 0.05]), 0.03, 0.05))
    fillet = rng.uniform(0.05, 0.18)
    bosses = len(tools)
    variants = [
        without(body, [*tools[:i], *tools[i + 1 :]] if i < bosses else tools)
        for i, body in enumerate(_without_one(parts, 1, fillet))
    ]
    field = without(merged(parts, fillet), tools)
    return _shape(field, [-1.1, -1.1, -0.35], [1.1, 1.1, 1.2], "casting", variants)


def housing(rng: np.random.Generator) -> Shape:
    """An open box with walls, rounded edges, pillars inside and windows in its sides."""
    half = np.array([1.0, rng.uniform(0.5, 1.0), rng.uniform(0.3, 0.6)])
    wall, edge = rng.uniform(0.07, 0.14), rng.uniform(0.06, 0.25)
    body = block(np.zeros(3), half, edge)
    inner = block(np.array([0, 0, wall + 0.3]), half - wall + [0, 0, 0.3], max(edge - wall, 0.03))
    tools = [inner]
    for side in (1.0, -1.0):
        if rng.random() < 0.6:
            at = np.array(
                [rng.uniform(-0.4, 0.4), side * half[1], rng.uniform(-0.1, 0.2) * half[2]]
            )
            size = np.array([rng.uniform(0.1, 0.3), 2 * wall, rng.uniform(0.2, 0.5) * half[2]])
            round_one = rng.random() < 0.4
            tools.append(
                rod(at, 1, float(size[2]), 2 * wall) if round_one else block(at, size, 0.03)
            )
    parts = [without(body, tools)]
    reach = half[:2] - wall - rng.uniform(0.08, 0.15)
    tall = half[2] * rng.uniform(0.3, 0.9)
    for x in (1.0, -1.0):
        for y in (1.0, -1.0):
            at = np.array([x * reach[0], y * reach[1], -half[2] + wall + tall / 2])
            parts.append(rod(at, 2, rng.uniform(0.1, 0.1), tall / 2 + 0.05))
    without_pillar = _without_one(parts, 1, 0.05)
    return _shape(
        merged(parts, 0.05), [-1.1, -1.1, -0.7], [1.1, 1.1, 0.7], "housing", without_pillar
    )


def handle(rng: np.random.Generator) -> Shape:
    """A grip, lever or knob: rods blended into each other, with a socket at one end."""
    knots = np.cumsum(rng.normal(size=(int(rng.integers(2, 5)), 3)) * [0.7, 0.35, 0.25], axis=0)
    knots -= knots.mean(axis=0)
    radius = rng.uniform(0.12, 0.3)
    parts = [capsule(a, b, radius, rng.uniform(0.7, 1.2)) for a, b in pairwise(knots)]
    end = knots[0]
    parts.append(rod(end, 2, 1.6 * radius, rng.uniform(0.8, 1.6) * radius))
    field = without(merged(parts, rng.uniform(0.1, 0.3)), [rod(end, 2, 0.8 * radius, 1.8 * radius)])
    reach = np.abs(knots).max(axis=0) + 2.2 * radius
    return _shape(field, list(-reach), list(reach), "handle")


def shell(rng: np.random.Generator) -> Shape:
    """A shell or fan: a dome with ribs that run out from its hinge."""
    ribs, deep = int(rng.integers(6, 13)), rng.uniform(0.02, 0.06)
    high, wall = rng.uniform(0.35, 0.7), rng.uniform(0.06, 0.1)
    spread = rng.uniform(0.7, 1.1)

    def field(at: Float32) -> Float32:
        x, y, z = at
        fan = np.arctan2(y, x + np.float32(1.1)) / np.float32(spread)
        rib = np.float32(deep) * np.cos(ribs * np.pi * fan)
        length = np.sqrt(x * x + y * y + (z / np.float32(high)) ** 2)
        dome = (length - 1) * np.float32(high)
        outer = dome + rib * np.clip(x + 1, 0, 1)
        inner = -(dome + np.float32(deep + wall))  # without ribs: nowhere thinner than the wall
        return np.asarray(np.maximum(np.maximum(outer, inner), -z), np.float32)

    return _shape(field, [-1.2, -1.2, -0.1], [1.2, 1.2, high + 0.2], "shell")
