"""Miniature MVTec 3D-AD and Eyecandies: parts on a plane, with dents and bumps, as published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from zeroflaw.types import Bool, Float64

Height = Callable[[Float64, Float64], Float64]
PIXELS = 64
DEFECTS = {"bump": 1.0, "dent": -1.0}


def cap(x: Float64, y: Float64) -> Float64:
    """A flattened ball. Like all shapes: heights within a circle of radius 1."""
    return 0.6 * np.sqrt(np.clip(0.64 - x**2 - y**2, 0, None))


def ring(x: Float64, y: Float64) -> Float64:
    """A torus that lies flat."""
    return np.sqrt(np.clip(0.09 - (np.hypot(x, y) - 0.5) ** 2, 0, None)) * 1.2


def bar(x: Float64, y: Float64) -> Float64:
    """Half a cylinder that lies flat."""
    return np.where(np.abs(y) < 0.85, np.sqrt(np.clip(0.12 - x**2, 0, None)), 0.0)


def block(x: Float64, y: Float64) -> Float64:
    """A block with a step."""
    inside = (np.abs(x) < 0.6) & (np.abs(y) < 0.7)
    return np.where(inside, np.where(x > 0.1, 0.42, 0.28), 0.0)


SHAPES: dict[str, Height] = {"cap": cap, "ring": ring, "bar": bar, "block": block}
MVTEC_SHAPES: dict[str, str] = {"bagel": "ring", "carrot": "bar", "cookie": "cap", "dowel": "block"}
CANDY_SHAPES: dict[str, str] = {
    "CandyCane": "bar",
    "Confetto": "cap",
    "LicoriceSandwich": "block",
    "PeppermintCandy": "ring",
}


def surface(
    shape: str, defect: str, rng: np.random.Generator, x: Float64, y: Float64
) -> tuple[Float64, Bool]:
    """Heights over the plane of a part that is turned at random, and where it is defective.

    x, y: (rows, columns), the part within a circle of radius 1. defect: "good" or of DEFECTS.
    """
    angle = rng.uniform(0, 2 * np.pi)
    turned_x = np.cos(angle) * x + np.sin(angle) * y
    turned_y = np.cos(angle) * y - np.sin(angle) * x
    height = SHAPES[shape](turned_x, turned_y)
    places = np.argwhere(height > 0.25)
    row, column = places[rng.integers(len(places))]
    distance = np.hypot(x - x[row, column], y - y[row, column]) / 0.22
    share = np.where((distance < 1) & (height > 0.15), (1 - distance**2) ** 2, 0.0)
    if defect not in DEFECTS:
        return height, np.zeros(x.shape, dtype=np.bool_)
    return height + 0.2 * DEFECTS[defect] * share, share > 0.05


def organised_scan(
    shape: str, defect: str, seed: int, pixels: int = PIXELS
) -> tuple[NDArray[np.float32], Bool]:
    """An organised scan (rows, columns, 3) in metres, and its mask (rows, columns).

    The part has a radius of 4 cm and lies on a tilted plane half a metre away; every fiftieth pixel
    is not measured.
    """
    rng = np.random.default_rng(seed)
    across, down = np.meshgrid(*[(np.arange(pixels) - pixels / 2) * (0.12 / pixels)] * 2)
    height, mask = surface(shape, defect, rng, across / 0.04, down / 0.04)
    depth = 0.5 + 0.05 * across - 0.08 * down - 0.04 * height
    depth += rng.normal(scale=1e-4, size=depth.shape)
    points = np.stack([across, down, depth], axis=2).astype(np.float32)
    points[rng.random((pixels, pixels)) < 0.02] = 0
    return points, mask


def photograph(seed: int, pixels: int = PIXELS) -> NDArray[np.uint8]:
    """A picture (rows, columns, 3) of colours that tell every place."""
    row, column = np.mgrid[:pixels, :pixels]
    third = np.full_like(row, seed % 256)
    return np.stack([row * 255 // pixels, column * 255 // pixels, third], axis=2).astype(np.uint8)


def write_png(path: Path, values: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, format="PNG")


def write_tiff(path: Path, values: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, photometric="rgb")


def write_mvtec_3d_ad(
    root: Path,
    categories: dict[str, str] | None = None,
    train: int = 2,
    test: int = 2,
    pixels: int = PIXELS,
) -> Path:
    """Write a tree with so many scans per split and kind, one to validate. Returns the root."""
    for place, (category, shape) in enumerate((categories or MVTEC_SHAPES).items()):
        kinds = [("train", "good", train), ("validation", "good", 1), ("test", "good", test)]
        kinds += [("test", defect, test) for defect in DEFECTS]
        for row, (split, kind, count) in enumerate(kinds):
            for number in range(count):
                seed = 1000 * place + 100 * row + number
                points, mask = organised_scan(shape, kind, seed, pixels)
                folder, name = root / category / split / kind, f"{number:03d}"
                write_tiff(folder / "xyz" / f"{name}.tiff", points)
                write_png(folder / "rgb" / f"{name}.png", photograph(seed, pixels))
                if kind != "good":
                    write_png(folder / "gt" / f"{name}.png", mask.astype(np.uint8) * 255)
    return root


def rendered(
    shape: str, defect: str, seed: int, pixels: int = PIXELS
) -> tuple[NDArray[np.uint16], tuple[float, float], Bool]:
    """A depth picture, its bounds in metres, and its mask: a sweet on a sloping floor, a wall
    behind."""
    rng = np.random.default_rng(seed)
    across, down = np.meshgrid(*[(np.arange(pixels) - pixels / 2) * (512 / 711.11 / pixels)] * 2)
    floor = 3.0 / (1 + 0.25 * down)
    height, mask = surface(shape, defect, rng, across * floor / 0.6, down * floor / 0.6)
    depth = floor - 0.6 * height
    depth[: pixels // 10] = (
        floor[pixels // 10] - 0.1 * (pixels // 10 - np.arange(pixels // 10))[:, None]
    )
    low, high = float(depth.min()), float(depth.max())
    return np.rint((depth - low) / (high - low) * 65535).astype(np.uint16), (low, high), mask


def write_eyecandies(
    root: Path,
    categories: dict[str, str] | None = None,
    train: int = 2,
    test: int = 4,
    private: int = 0,
    pixels: int = PIXELS,
) -> Path:
    """Write a tree as published, one scan to validate. Returns the root.

    private: scans without labels, of which the published set has 400 a category. Of the test scans
    every second is good, the others have a bump or a dent.
    """
    for place, (category, shape) in enumerate((categories or CANDY_SHAPES).items()):
        splits = {"train": train, "val": 1, "test_public": test, "test_private": private}
        for row, (split, count) in enumerate(splits.items()):
            for number in range(count):
                defect = "good"
                if split.startswith("test") and number % 2:
                    defect = list(DEFECTS)[number // 2 % 2]
                seed = 1000 * place + 100 * row + number
                digits = 2 if split == "test_public" else 3
                stem = root / category / split / "data" / f"{number:0{digits}d}"
                write_sample(stem, shape, defect, seed, pixels, public=split != "test_private")
    return root


def write_sample(
    stem: Path, shape: str, defect: str, seed: int, pixels: int, public: bool = True
) -> None:
    """Write the files of one scan: `<stem>_depth.png` and those that go with it."""
    depth, (low, high), mask = rendered(shape, defect, seed, pixels)
    write_png(stem.with_name(f"{stem.name}_depth.png"), depth)
    picture = photograph(seed, pixels)
    write_png(stem.with_name(f"{stem.name}_image_0.png"), picture // 4)  # one light of several
    write_png(stem.with_name(f"{stem.name}_image_4.png"), picture)
    bounds = f"normalization:\n  max: {high!r}\n  min: {low!r}\n"
    stem.with_name(f"{stem.name}_info_depth.yaml").write_text(bounds)
    if public:
        write_png(stem.with_name(f"{stem.name}_mask.png"), mask.astype(np.uint8) * 255)


def write_converted_eyecandies(
    root: Path, categories: dict[str, str] | None = None, train: int = 2, test: int = 2
) -> Path:
    """Write the tree that the field converts: float64, a tenth of the size, masks of three
    channels, the background at one place. Returns the root."""
    for place, (category, shape) in enumerate((categories or CANDY_SHAPES).items()):
        kinds = [("train", "good", train), ("test", "good", test), ("test", "bad", test)]
        for row, (split, kind, count) in enumerate(kinds):
            for number in range(count):
                defect = "good" if kind == "good" else list(DEFECTS)[number % 2]
                seed = 1000 * place + 100 * row + number
                points, mask = organised_scan(shape, defect, seed)
                part = points[..., 2] < 0.494 + 0.05 * points[..., 0] - 0.08 * points[..., 1]
                converted = np.where(part[..., None], points, (0.0, 0.013, -0.002))
                folder, name = root / category / split / kind, f"{number:03d}"
                write_tiff(folder / "xyz" / f"{name}.tiff", converted.astype(np.float64))
                write_png(folder / "rgb" / f"{name}.png", photograph(seed))
                channels = np.repeat(mask.astype(np.uint8)[..., None] * 255, 3, axis=2)
                if split == "test":
                    write_png(folder / "gt" / f"{name}.png", channels)
    return root
