"""Parametric parts: vessels, shells, pipes and toys, each from its own random parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zeroflaw.synthesis.blends import animal, casting, fruit, handle, housing, shell
from zeroflaw.synthesis.machined import bracket, flange, gear, plate, shaft
from zeroflaw.synthesis.shapes import Mesh, Shape
from zeroflaw.synthesis.sweeps import (
    grid_faces,
    joined,
    revolved,
    rounded_curve,
    shaped,
    smooth_curve,
    swept,
)
from zeroflaw.types import Float64

Solid = Callable[[np.random.Generator], Shape]


def wall(outer: Float64, thickness: float) -> Float64:
    """A profile out along `outer` from the bottom's middle, over the rim and back inside."""
    inner = outer.copy()
    inner[:, 0] = np.maximum(outer[:, 0] - thickness, 0)
    inner[:, 1] = np.maximum(outer[:, 1], outer[0, 1] + thickness)
    middle = (outer[-1] + inner[-1]) / 2 + [0, thickness / 2]
    return np.concatenate([outer, middle[None], inner[::-1]])


def _vessel(rng: np.random.Generator, radii: list[float], height: float, name: str) -> Shape:
    """A revolved vessel with a wall; radii from the foot to the rim."""
    knots = np.array([[r * rng.uniform(0.96, 1.04), 0] for r in radii])
    knots[:, 1] = np.linspace(0, height * rng.uniform(0.8, 1.25), len(radii))
    outer = smooth_curve(knots, 48)
    foot = np.stack([np.linspace(0, outer[0, 0], 6)[:-1], np.zeros(5)], axis=1)
    thickness = float(rng.uniform(0.05, 0.1) * max(radii))
    profile = wall(np.concatenate([foot, outer]), thickness)
    body = revolved(profile)
    parts = [body]
    if name in ("cup", "jug"):
        parts.append(_handle(rng, outer))
    return joined(parts, name)


def _handle(rng: np.random.Generator, outer: Float64) -> Mesh:
    low, high = rng.uniform(0.15, 0.3), rng.uniform(0.7, 0.88)
    start, end = outer[int(low * len(outer))], outer[int(high * len(outer))]
    t = np.linspace(0, np.pi, 28)
    bow = rng.uniform(0.35, 0.6) * outer[:, 0].max()
    radius = start[0] + (end[0] - start[0]) * (t / np.pi) - 0.02 + bow * np.sin(t) ** 0.7
    height = start[1] + (end[1] - start[1]) * (1 - np.cos(t)) / 2
    path = np.stack([radius, np.zeros_like(t), height], axis=1)
    return swept(path, np.full(len(t), rng.uniform(0.06, 0.1) * outer[:, 0].max()), 20)


def bottle(rng: np.random.Generator) -> Shape:
    """A bottle: a body, a shoulder and a neck."""
    neck = rng.uniform(0.25, 0.5)
    waist = rng.uniform(0.8, 1.05)
    return _vessel(rng, [0.95, 1, waist, 1, 0.95, neck * 1.2, neck, neck], 4.2, "bottle")


def bowl(rng: np.random.Generator) -> Shape:
    """An open bowl."""
    return _vessel(rng, [0.45, 0.75, 0.92, 1.0, rng.uniform(0.9, 1.1)], 0.9, "bowl")


def cup(rng: np.random.Generator) -> Shape:
    """A cup with a handle."""
    return _vessel(rng, [0.75, 0.9, 0.95, rng.uniform(0.85, 1.1), 1.0], 1.9, "cup")


def vase(rng: np.random.Generator) -> Shape:
    """A vase with a free profile."""
    return _vessel(rng, [0.6, *rng.uniform(0.45, 1.0, 4), rng.uniform(0.4, 0.9)], 3.0, "vase")


def jar(rng: np.random.Generator) -> Shape:
    """A jar with a short neck."""
    return _vessel(rng, [0.9, 1, 1, 1, 0.97, 0.75, 0.75], 2.2, "jar")


def bucket(rng: np.random.Generator) -> Shape:
    """A conical pail with a beaded rim."""
    return _vessel(rng, [0.7, 0.77, 0.85, 0.93, 1.0, 1.05, 1.0], 1.9, "bucket")


def cap(rng: np.random.Generator) -> Shape:
    """A cap: an open dome with a peak in front."""
    rows, columns, thickness = 36, 72, 0.06
    height = rng.uniform(0.6, 0.95)
    reach, spread = rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.8)
    lean = rng.uniform(0.1, 0.35)
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    t = np.linspace(0, np.pi / 2, rows)[:, None]
    length = rng.uniform(1.05, 1.25)
    layers = []
    for scale in (1.0, 1 - thickness):
        x = scale * length * np.sin(t) * np.cos(angle)
        y = scale * np.sin(t) * np.sin(angle)
        z = scale * height * np.broadcast_to(np.cos(t) ** 0.9, x.shape)
        peak = np.linspace(0, 1, 12)[1:, None] * np.exp(
            -((np.angle(np.exp(1j * angle)) / spread) ** 4)
        )
        px, py = x[-1] + peak * reach * np.cos(angle) ** 2, y[-1] + 0 * peak
        pz = z[-1] - lean * peak**2 + (scale - 1) * np.clip(peak, 0, 0.3)
        layers.append(np.stack([np.r_[x, px], np.r_[y, py], np.r_[z, pz]], axis=-1))
    vertices = np.concatenate([layers[0], layers[1][::-1]])
    return shaped(vertices.reshape(-1, 3), grid_faces(len(vertices), columns, around=True), "cap")


def helmet(rng: np.random.Generator) -> Shape:
    """A helmet: a deep open shell, cut higher in front, with ridges."""
    rows, columns, thickness = 40, 80, 0.07
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    deep = 0.62 * np.pi - rng.uniform(0.05, 0.3) * (1 + np.cos(angle)) / 2 * np.pi
    t = np.linspace(0, 1, rows)[:, None] * deep
    ridge = 1 + rng.uniform(0, 0.05) * np.cos(rng.integers(3, 9) * angle) * np.sin(t) ** 2
    length = rng.uniform(1.1, 1.3)
    shells = [
        np.stack(
            [
                s * ridge * length * np.sin(t) * np.cos(angle),
                s * ridge * np.sin(t) * np.sin(angle),
                s * np.cos(t) * np.ones_like(angle),
            ],
            axis=-1,
        )
        for s in (1.0, 1 - thickness)
    ]
    vertices = np.concatenate([shells[0], shells[1][::-1]])
    return shaped(vertices.reshape(-1, 3), grid_faces(2 * rows, columns, around=True), "helmet")


def tube(rng: np.random.Generator) -> Shape:
    """A bent pipe of varying thickness."""
    knots = np.cumsum(rng.normal(size=(int(rng.integers(4, 7)), 3)) * [1, 1, 0.6], axis=0)
    path = rounded_curve(knots, 90)
    radius = np.full(len(path), rng.uniform(0.15, 0.35))
    radius *= 1 + rng.uniform(0, 0.2) * np.sin(np.linspace(0, rng.uniform(2, 9), len(path)))
    return joined([swept(path, radius)], "tube")


def tap(rng: np.random.Generator) -> Shape:
    """A tap: a standing pipe with an arched spout, a flange and a turning knob."""
    height, reach, bore = rng.uniform(1.2, 2.2), rng.uniform(0.8, 1.5), rng.uniform(0.12, 0.2)
    knots = np.array(
        [
            [0, 0, 0],
            [0, 0, height],
            [reach / 2, 0, height + 0.35 * reach],
            [reach, 0, height],
            [reach, 0, height - 0.4],
        ]
    )
    path = smooth_curve(knots, 80)
    base = revolved(np.array([[0, 0], [0.5, 0], [0.5, 0.08], [0.3, 0.16], [0, 0.16]]) * [1, 1.5])
    knob, faces = revolved(
        np.array([[0, 0], [0.09, 0], [0.09, 0.4], [0.25, 0.45], [0.25, 0.7], [0, 0.75]])
    )
    knob = knob[:, [0, 2, 1]] * [1, 1, 1] + [0, 0, rng.uniform(0.4, 0.8) * height]
    return joined([swept(path, np.full(len(path), bore)), base, (knob, faces)], "tap")


def toy(rng: np.random.Generator) -> Shape:
    """A smooth blend of balls, as of an animal or a fruit: a star-shaped level set."""
    rows, columns = 90, 140
    theta = np.linspace(1e-3, np.pi - 1e-3, rows)[:, None]
    phi = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    way = np.stack(
        [
            np.sin(theta) * np.cos(phi),
            np.sin(theta) * np.sin(phi),
            np.cos(theta) * np.ones_like(phi),
        ],
        axis=-1,
    )
    stretch = rng.uniform(0.6, 1.0, 3)
    radius = 1 / np.linalg.norm(way / stretch, axis=-1)
    for _ in range(int(rng.integers(3, 9))):
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        for side in (1, -1):
            limb = axis * [1, side, 1]
            radius = radius + rng.uniform(0.15, 0.5) * np.exp((way @ limb - 1) * rng.uniform(8, 40))
    return shaped(
        (way * radius[..., None]).reshape(-1, 3), grid_faces(rows, columns, around=True), "toy"
    )


def _power(base: Float64, exponent: float) -> Float64:
    """A power that keeps the sign."""
    return np.asarray(np.sign(base) * np.abs(base) ** exponent)


def superquadric(rng: np.random.Generator) -> Shape:
    """Between a box, a cylinder and an ellipsoid, sometimes tapered."""
    rows, columns = 80, 120
    eta = np.linspace(-np.pi / 2, np.pi / 2, rows)[:, None]
    omega = np.linspace(-np.pi, np.pi, columns, endpoint=False)
    e1, e2 = rng.uniform(0.2, 1.3, 2)
    size = rng.uniform(0.4, 1.2, 3)
    z = size[2] * _power(np.sin(eta), e1) * np.ones_like(omega)
    taper = 1 + rng.uniform(-0.4, 0.4) * z / size[2]
    x = size[0] * taper * _power(np.cos(eta), e1) * _power(np.cos(omega), e2)
    y = size[1] * taper * _power(np.cos(eta), e1) * _power(np.sin(omega), e2)
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    return shaped(vertices, grid_faces(rows, columns, around=True), "superquadric")


SOLIDS: dict[str, Solid] = {
    "bottle": bottle,
    "bowl": bowl,
    "bucket": bucket,
    "cup": cup,
    "jar": jar,
    "vase": vase,
    "cap": cap,
    "helmet": helmet,
    "tap": tap,
    "tube": tube,
    "toy": toy,
    "superquadric": superquadric,
    "bracket": bracket,
    "flange": flange,
    "gear": gear,
    "plate": plate,
    "shaft": shaft,
    "animal": animal,
    "fruit": fruit,
    "casting": casting,
    "housing": housing,
    "handle": handle,
    "shell": shell,
}


def random_solids(count: int, seed: int) -> list[Shape]:
    """`count` solids, the families in turn, deterministic per seed."""
    names = list(SOLIDS)
    streams = np.random.default_rng(seed).spawn(count)
    return [SOLIDS[names[i % len(names)]](streams[i]) for i in range(count)]
