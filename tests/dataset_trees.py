"""Miniature data sets of point files, in the layouts in which Real3D-AD and Anomaly-ShapeNet lie.

Every category is a part of another shape, every defect a real bulge or sink with its labels, so
that a method can learn from them in seconds. As in the published sets, good scans are binary PCD
files of float32, and the points of defective ones come from text files of other precision, in
another order.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scan_files import pcd_binary
from zeroflaw.types import Bool, Float64

TEMPLATES = 4
DEFECT_RADIUS = 0.5
DEFECT_HEIGHT = 0.25  # both of a part that reaches about 1 from its middle


def surface(category: str, count: int, rng: np.random.Generator) -> tuple[Float64, Float64]:
    """Points (count, 3) and outward normals of the category's part, about 1 from its middle.

    A superellipsoid: its axes and how square it is depend on the category's name alone.
    """
    shape = np.random.default_rng(zlib.crc32(category.encode()))
    axes = shape.uniform(0.6, 1.3, size=3)
    power = float(shape.choice([2.0, 3.0, 6.0]))
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    radius = (np.abs(direction / axes) ** power).sum(axis=1) ** (-1 / power)
    points = direction * radius[:, None]
    normals = np.sign(points) * np.abs(points / axes) ** (power - 1) / axes
    return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def part(
    category: str,
    height: float,
    count: int,
    rng: np.random.Generator,
    *,
    one_sided: bool = False,
) -> tuple[Float64, Bool]:
    """A scan of a part with a defect of that height, below 0 a sink, and which points it moved.

    one_sided: only what is seen from above, as of a part on a table.
    """
    points, normals = surface(category, 3 * count, rng)
    points += rng.normal(scale=0.004, size=points.shape)
    if one_sided:
        seen = normals[:, 2] > -0.2
        points, normals = points[seen], normals[seen]
    points, normals = points[:count], normals[:count]
    if not height:
        return points, np.zeros(len(points), dtype=bool)
    top = np.flatnonzero(normals[:, 2] > 0.3)
    center = points[rng.choice(top)]
    distance = np.linalg.norm(points - center, axis=1) / DEFECT_RADIUS
    share = np.where(distance < 1, (1 - np.minimum(distance, 1) ** 2) ** 2, 0.0)
    return points + (height * share)[:, None] * normals, distance < 0.8


def write_pcd(path: Path, points: Float64) -> None:
    """A binary PCD file of float32, as the published good scans are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pcd_binary(points))


def write_label_rows(
    path: Path, points: Float64, labels: Bool, separator: str = " ", decimals: int = 6
) -> None:
    """A text file of rows `x y z label`, the label as a float."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.c_[points, labels]
    np.savetxt(path, rows, fmt=f"%.{decimals}f", delimiter=separator)


def real3d_ad_tree(
    root: Path,
    categories: Sequence[str] = ("airplane", "car", "shell"),
    scans: int = 2,
    points: int = 600,
) -> Path:
    """Write `scans` good, bulged and sunk test scans per category, and 4 templates; return root."""
    for category in categories:
        rng = np.random.default_rng([zlib.crc32(category.encode()), 1])
        folder = root / category
        for number in range(1, TEMPLATES + 1):
            whole, _ = part(category, 0.0, points, rng)
            write_pcd(folder / "train" / f"{number}_template.pcd", 30 * whole)
        number = 1
        for kind, height in (("good", 0.0), ("bulge", DEFECT_HEIGHT), ("sink", -DEFECT_HEIGHT)):
            for turn in range(scans):
                stem = f"{number}_{kind}" + ("", "_cut", "_copy")[turn % 3]
                seen, labels = part(category, height, points, rng, one_sided=True)
                write_pcd(folder / "test" / f"{stem}.pcd", 30 * seen)
                if height:
                    order = rng.permutation(len(seen))
                    place = folder / "gt" / f"{stem}.txt"
                    write_label_rows(place, 30 * seen[order], labels[order])
                number += 1
    return root


def anomaly_shapenet_tree(
    root: Path,
    categories: Sequence[str] = ("ashtray0", "bag0", "bottle0"),
    scans: int = 2,
    points: int = 600,
) -> Path:
    """Write `scans` positive, bulged and hollowed test scans per category, and 4 templates.

    Returns root, which is the archive's top: the categories lie in `dataset/pcd`.
    """
    kinds = (("positive", 0.0), ("bulge", DEFECT_HEIGHT), ("concavity", -DEFECT_HEIGHT))
    for category in categories:
        rng = np.random.default_rng([zlib.crc32(category.encode()), 2])
        folder = root / "dataset" / "pcd" / category
        for number in range(TEMPLATES):
            whole, _ = part(category, 0.0, points, rng)
            write_pcd(folder / "train" / f"{category}_template{number}.pcd", whole)
        for kind, height in kinds:
            for number in range(scans):
                stem = f"{category}_{kind}{number}"
                seen, labels = part(category, height, points, rng)
                write_pcd(folder / "test" / f"{stem}.pcd", seen)
                if height:
                    order = rng.permutation(len(seen))
                    place = folder / "GT" / f"{stem}.txt"
                    write_label_rows(place, seen[order], labels[order], ",", 8)
    return root
