"""The neighbourhood of a defect: one side of the wall, an irregular footprint, kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from zeroflaw.synthesis.parts import Feature, features
from zeroflaw.synthesis.sensor import Sensor
from zeroflaw.synthesis.shapes import Shape
from zeroflaw.types import Bool, Float32, Int64

Map = Callable[[Float32], Float32]


@dataclass(frozen=True, eq=False)
class Part:
    """The whole part as it was sampled, what lies under the seen surface too.

    points, normals: (T, 3) float32, in the scan's pose, normals as the mesh has them; face: (T,),
    of the shape's triangles. seen: (V,) which samples the site's points are. turn: (3, 3), from
    the shape's frame to the scan's.
    """

    shape: Shape
    points: Float32
    normals: Float32
    face: Int64
    seen: Int64
    turn: Float32
    sensor: Sensor

    @cached_property
    def features(self) -> list[Callable[[], Feature]]:
        """What makes the features that the part could lack, one each."""
        return features(self.shape)


@dataclass(frozen=True, eq=False)
class Site:
    """Where a defect goes, in diagonals of the part.

    points, normals: (V, 3) float32, the seen surface, normals towards the viewer. seed: index of
    the point it grows from. size: diameter. amplitude: height or depth. spacing: between the
    points given here. visible: least deviation from the good surface that counts as a defect.
    part: where the points come from.
    """

    points: Float32
    normals: Float32
    seed: int
    size: float
    amplitude: float
    spacing: float
    visible: float
    part: Part

    @property
    def radius(self) -> float:
        """Half the size."""
        return self.size / 2

    def ball(self, radius: float) -> Int64:
        """Indices of the points within a radius of the seed."""
        offset = self.points - self.points[self.seed]
        return np.flatnonzero(np.einsum("ij,ij->i", offset, offset) < radius * radius)

    def same_side(self, radius: float) -> Int64:
        """As `ball`, but only what is connected to the seed without going through the wall."""
        index = self.ball(radius)
        normals = self.normals[index]
        if len(index) < 3 or (normals @ self.normals[self.seed]).min() > 0.2:
            return index
        tree = cKDTree(self.points[index])
        pairs = tree.query_pairs(2.2 * self.spacing, output_type="ndarray")
        agree = np.einsum("ij,ij->i", normals[pairs[:, 0]], normals[pairs[:, 1]]) > -0.4
        rows, columns = pairs[agree].T
        graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), (len(index),) * 2)
        part = connected_components(graph, directed=False)[1]
        return np.asarray(index[part == part[np.searchsorted(index, self.seed)]])

    @cached_property
    def frame(self) -> Float32:
        """Axes (3, 3) as rows: two along the surface at the seed, then its smoothed normal."""
        near = self.ball(max(0.35 * self.radius, 3 * self.spacing))
        normals = self.normals[near]
        normals = normals[normals @ self.normals[self.seed] > 0]
        up = normals.mean(axis=0)
        up /= np.linalg.norm(up)
        return axes_about(up)

    def thickness(self) -> float:
        """To the opposite wall, as far as it was seen within one size; else infinite."""
        index = self.ball(self.size)
        offset = (self.points[index] - self.points[self.seed]) @ self.frame.T
        below = -offset[:, 2]
        behind = (below > 0.5 * self.spacing) & (self.normals[index] @ self.frame[2] < -0.3)
        behind &= np.hypot(offset[:, 0], offset[:, 1]) < max(0.5 * self.radius, 3 * self.spacing)
        return float(np.median(below[behind])) if behind.sum() > 4 else float("inf")

    def standing(self) -> float:
        """How far the seed stands out of its neighbourhood, in radii."""
        middle = self.points[self.ball(self.radius)].mean(axis=0)
        return float(np.linalg.norm(self.points[self.seed] - middle)) / self.radius

    def facing(self) -> float:
        """Share of the neighbourhood that faces the same way as the seed, 0 to 1."""
        agree = self.normals[self.ball(self.radius)] @ self.normals[self.seed]
        return float((agree > 0.5).mean())


def axes_about(up: Float32) -> Float32:
    """A right-handed frame, rows, whose last axis is `up`."""
    side = np.cross(up, np.eye(3, dtype=np.float32)[np.argmin(np.abs(up))])
    side /= np.linalg.norm(side)
    return np.stack([side, np.cross(up, side), up]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Footprint:
    """An irregular outline on the surface. radius: along its longest axis."""

    origin: Float32
    frame: Float32
    radius: float
    aspect: float
    harmonics: Float32

    @staticmethod
    def random(site: Site, rng: np.random.Generator, irregular: float = 1.0) -> Footprint:
        """An ellipse with a wavy outline whose longest diameter is the site's size."""
        turn = rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(turn), np.sin(turn)
        twist = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], dtype=np.float32)
        orders = np.arange(2, 6)
        height = irregular * rng.normal(size=4) * 0.22 / orders
        phase = rng.uniform(0, 2 * np.pi, 4)
        return Footprint(
            origin=site.points[site.seed],
            frame=twist @ site.frame,
            radius=site.radius,
            aspect=float(np.exp(rng.uniform(0, np.log(2.2)))),
            harmonics=np.stack([orders, height, phase], axis=1).astype(np.float32),
        )

    def local(self, points: Float32) -> Float32:
        """Coordinates in the footprint's frame."""
        return np.asarray((points - self.origin) @ self.frame.T, np.float32)

    def outline(self, angle: Float32) -> Float32:
        """Radius of the outline in a direction."""
        wave = sum(h * np.cos(k * angle + p) for k, h, p in self.harmonics)
        narrow = np.hypot(np.cos(angle), self.aspect * np.sin(angle))
        return np.asarray(self.radius * np.clip(1 + wave, 0.5, 1.25) / narrow, dtype=np.float32)

    def reach(self, points: Float32) -> Float32:
        """0 at the middle, 1 on the outline. Depth counts too, so that bent surfaces end."""
        u, v, w = self.local(points).T
        across = np.sqrt(u * u + v * v + w * w)
        return np.asarray(across / self.outline(np.arctan2(v, u)), dtype=np.float32)

    def across(self, points: Float32) -> Float32:
        """As `reach`, whatever the depth."""
        u, v, _ = self.local(points).T
        return np.asarray(np.hypot(u, v) / self.outline(np.arctan2(v, u)), dtype=np.float32)

    def walls(
        self, points: Float32, depth: float, spacing: float, rng: np.random.Generator
    ) -> tuple[Float32, Float32, Float32]:
        """Points down from the outline, `spacing` apart; their normals and signed depths.

        points: the surface that the walls hang from.
        """
        band = np.flatnonzero(np.abs(self.across(points) - 1) < 0.35)
        angle = np.linspace(-np.pi, np.pi, 257, dtype=np.float32)
        radius = self.outline(angle)
        ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))])
        count = int(arc[-1] * depth / spacing**2) if len(band) > 7 else 0
        at = np.interp(rng.uniform(0, arc[-1], count), arc, angle).astype(np.float32)
        local = self.local(points[band])
        around = np.arctan2(local[:, 1], local[:, 0])
        order = np.argsort(around)
        top = np.zeros(0)
        if count:
            top = np.interp(at, around[order], local[order, 2], period=2 * np.pi)
        down = rng.uniform(0, depth, count)
        out = self.outline(at)
        flat = np.stack([out * np.cos(at), out * np.sin(at), top - down], axis=1)
        inward = np.stack([-np.cos(at), -np.sin(at), np.zeros_like(at)], axis=1)
        wall = self.origin + flat.astype(np.float32) @ self.frame
        return wall, inward @ self.frame, -down.astype(np.float32)


def profile(reach: Float32, sharpness: float) -> Float32:
    """A smooth, compact hill of height 1: rounded at sharpness 0, a plateau with walls near 1."""
    inner = 0.75 * sharpness
    t = np.clip((1 - reach) / (1 - inner), 0, 1)
    return np.asarray(t * t * t * (t * (6 * t - 15) + 10), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth random function of space with zero mean and unit variance."""

    vectors: Float32
    phases: Float32

    @staticmethod
    def random(shortest: float, longest: float, rng: np.random.Generator, count: int = 20) -> Waves:
        """Wavelengths between the two lengths, in all directions."""
        length = np.exp(rng.uniform(np.log(shortest), np.log(longest), (count, 1)))
        vectors = rng.normal(size=(count, 3))
        vectors *= 2 * np.pi / length / np.linalg.norm(vectors, axis=1, keepdims=True)
        phases = rng.uniform(0, 2 * np.pi, count)
        return Waves(vectors.astype(np.float32), phases.astype(np.float32))

    def __call__(self, points: Float32) -> Float32:
        """Values at points (N, 3); (N,)."""
        phase = points @ self.vectors.T + self.phases
        return np.asarray(np.sin(phase).sum(axis=1) * np.sqrt(2 / len(self.phases)), np.float32)


def deform(
    points: Float32, normals: Float32, move: Map, step: float
) -> tuple[Float32, Float32, Float32]:
    """Moved points, their new normals, and how much the surface stretched; by differences.

    move: (N, 3) to (N, 3). step: length of the differences.
    """
    moved = move(points)
    side = np.eye(3, dtype=np.float32)[np.where(np.abs(normals[:, 0]) < 0.7, 0, 1)]
    first = np.cross(normals, side).astype(np.float32)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(normals, first).astype(np.float32)
    h = np.float32(step)
    across = np.cross(move(points + h * first) - moved, move(points + h * second) - moved) / (h * h)
    stretch = np.linalg.norm(across, axis=1)
    turned = np.where(stretch[:, None] > 1e-3, across / (stretch[:, None] + 1e-12), normals)
    return moved, turned.astype(np.float32), stretch.astype(np.float32)


def deviation(site: Site, index: Int64, moved: Float32) -> Float32:
    """Signed distance from the good surface of moved points; (L,), positive outside.

    Along the point's own normal; where a point slid along a flat face, to the nearest good
    surface, so that sliding within the surface is no defect.
    """
    along = np.einsum("ij,ij->i", moved - site.points[index], site.normals[index])
    travel = np.linalg.norm(moved - site.points[index], axis=1)
    unsure = np.flatnonzero((travel > site.visible) & (np.abs(along) < site.visible))
    if len(unsure):
        along[unsure] = distance_from(site, index, moved[unsure], site.size)
    return np.asarray(along, dtype=np.float32)


def distance_from(site: Site, index: Int64, places: Float32, limit: float) -> Float32:
    """Signed distance of places (Q, 3) from the surface at some of the site's points; (Q,).

    Beyond `limit` the size of what comes back means nothing but that it is far.
    """
    if len(places) == 0:
        return np.zeros(0, np.float32)
    surface, normals = site.points[index], site.normals[index]
    distance, nearest = cKDTree(surface).query(places, k=1, distance_upper_bound=limit)
    nearest = np.minimum(nearest, len(index) - 1)
    height = np.einsum("ij,ij->i", places - surface[nearest], normals[nearest])
    away = np.maximum(np.abs(height), np.minimum(distance, limit) - 2.5 * site.spacing)
    return np.asarray(np.where(height < 0, -away, away), dtype=np.float32)


def near(points: Float32, others: Float32, radius: float) -> Bool:
    """Which points have one of the others within a radius."""
    if len(others) == 0 or len(points) == 0:
        return np.zeros(len(points), dtype=bool)
    distance, _ = cKDTree(others).query(points, k=1, distance_upper_bound=radius)
    return np.asarray(np.isfinite(distance))
