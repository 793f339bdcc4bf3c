"""Small scans with known defects, made with numpy alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray

from dataset_trees import anomaly_shapenet_tree, real3d_ad_tree
from organised_trees import write_eyecandies, write_mvtec_3d_ad
from zeroflaw.types import Scan


def sphere_points(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Evenly spread random points on the unit sphere, (count, 3)."""
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def dent(
    points: NDArray[np.float64], center: ArrayLike, radius: float, depth: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Move the points within `radius` of `center` by up to `depth` (3,), most in the middle.

    Returns the points (N, 3) and which of them moved (N,).
    """
    distance = np.linalg.norm(points - np.asarray(center), axis=1) / radius
    inside = distance < 1
    share = np.where(inside, (1 - distance**2) ** 2, 0.0)
    return points + share[:, None] * np.asarray(depth), inside


@pytest.fixture
def good_sphere() -> Scan:
    """A sphere of radius 50 around (100, 0, 20), 4,000 points, without a defect."""
    points = sphere_points(4000) * 50 + (100.0, 0.0, 20.0)
    return Scan(points, labels=np.zeros(len(points), dtype=bool))


@pytest.fixture
def dented_sphere() -> Scan:
    """The same sphere with a dent of radius 15 and depth 6 at its top, labelled."""
    points = sphere_points(4000) * 50 + (100.0, 0.0, 20.0)
    moved, inside = dent(points, (100.0, 0.0, 70.0), 15, (0.0, 0.0, -6.0))
    return Scan(moved, labels=inside)


@pytest.fixture
def dented_plate() -> Scan:
    """A box of 80 × 60 × 10 with its surface sampled evenly and a dent of radius 9, labelled."""
    rng = np.random.default_rng(1)
    size = np.array([80.0, 60.0, 10.0])
    areas = np.array([size[1] * size[2], size[0] * size[2], size[0] * size[1]])
    axis = rng.choice(3, size=4000, p=areas / areas.sum())
    points = rng.uniform(0, size, size=(4000, 3))
    points[np.arange(4000), axis] = size[axis] * rng.integers(0, 2, size=4000)
    moved, inside = dent(points, (30.0, 25.0, 10.0), 9, (0.0, 0.0, -3.0))
    return Scan(moved, labels=inside)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks wait for each other's threads on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def real3d_ad_root(tmp_path: Path) -> Path:
    """A miniature Real3D-AD: airplane, car and shell, six test scans each."""
    return real3d_ad_tree(tmp_path / "Real3D-AD")


@pytest.fixture
def anomaly_shapenet_root(tmp_path: Path) -> Path:
    """A miniature Anomaly-ShapeNet: ashtray0, bag0 and bottle0, six test scans each."""
    return anomaly_shapenet_tree(tmp_path / "Anomaly-ShapeNet-v2")


@pytest.fixture
def mvtec_3d_ad_root(tmp_path: Path) -> Path:
    """A miniature MVTec 3D-AD: bagel, carrot, cookie and dowel, six test scans each."""
    return write_mvtec_3d_ad(tmp_path / "mvtec_3d_ad")


@pytest.fixture
def eyecandies_root(tmp_path: Path) -> Path:
    """A miniature Eyecandies as published: four categories, four test scans each."""
    return write_eyecandies(tmp_path / "Eyecandies")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to learn from: two dented spheres with labels and two good ones."""
    folder = tmp_path / "scans"
    (folder / "good").mkdir(parents=True)
    for seed in range(4):
        points = np.random.default_rng(seed).normal(size=(600, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        if seed % 2:
            np.savez(folder / "good" / f"{seed}.npz", points=points)
        else:
            labels = points @ points[0] > 0.8
            points[labels] *= 0.7
            np.savez(folder / f"{seed}.npz", points=points, labels=labels)
    return folder
