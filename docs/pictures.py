"""Pictures of what is synthesised: docs/defects.png and docs/solids.png.

    PYTHONPATH=src python docs/pictures.py

Takes about a minute; the same code gives the same pictures.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zeroflaw.geometry.cameras import Frame, View, frame
from zeroflaw.geometry.render import Rendered, closing_radius, render
from zeroflaw.synthesis import SOLIDS, Settings, Synthesized, good_twin, synthesize
from zeroflaw.synthesis.surfaces import sample_surface
from zeroflaw.types import Bool, Float64, UInt8

HERE = Path(__file__).resolve().parent
TILE = 190
FINER = 2  # drawn this much larger, then averaged
GREY, MARK = (176, 182, 190), (240, 130, 70)
INK = (32, 36, 44)
SHOWN = Settings(
    points=(60_000, 60_000),
    defective_share=1.0,
    one_sided_share=0.0,
    sizes=(0.16, 0.2),
    amplitudes=(0.12, 0.2),
    noise=(0.0001, 0.0002),
)
EXAMPLES = {  # family and seed that show a kind well
    "bulge": ("bottle", 4),
    "dent": ("cup", 2),
    "hole": ("superquadric", 4),
    "crack": ("jar", 8),
    "break": ("plate", 3),
    "bend": ("cap", 6),
    "rough": ("superquadric", 7),
    "flat": ("fruit", 8),
    "scratch": ("handle", 9),
    "excess": ("handle", 4),
    "shifted": ("flange", 11),
    "missing": ("casting", 12),
}


def turned(way: Float64) -> Float64:
    """Axes of a camera that looks from a direction (3,), with z upwards where that can be."""
    ahead = way / np.linalg.norm(way)
    up = np.array([0.0, 0.0, 1.0]) if abs(ahead[2]) < 0.95 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, ahead)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(ahead, right), ahead])


def marked(labels: Bool) -> UInt8:
    """Colours (N, 3) that tell labelled points from the others."""
    return np.where(labels[:, None], MARK, GREY).astype(np.uint8)


def splatted(
    points: Float64, colors: UInt8, view: View, shown: Frame, wider: float = 1.5
) -> Rendered:
    """The coloured points from one side, FINER times the size of a tile.

    wider: radius of the discs by the least that closes even surfaces.
    """
    scale = TILE * FINER / max(shown.width, shown.height)
    radius = wider * closing_radius(points, [view], shown, scale)
    return render(points, colors, view, shown, scale, radius)


def drawn(points: Float64, colors: UInt8, view: View, shown: Frame) -> Image.Image:
    """A tile with the coloured points from one side."""
    picture = Image.fromarray(splatted(points, colors, view, shown).image).reduce(FINER)
    tile = Image.new("RGB", (TILE, TILE), "white")
    tile.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
    return tile


def around() -> Float64:
    """Directions from all sides, (24, 3)."""
    number = np.arange(24)
    height = 0.95 - 1.9 * number / 23
    angle = np.pi * (3 - np.sqrt(5)) * number
    flat = np.sqrt(1 - height**2)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1)


def telling_view(made: Synthesized, ways: Float64) -> View:
    """Of some directions (K, 3), the one from which most of the labelled surface is seen."""
    labels = made.scan.labels
    assert labels is not None
    best, most = View("", turned(ways[0])), -1
    for way in ways:
        view = View("", turned(way))
        shown = frame(made.scan.points, [view])
        colors = np.zeros((len(labels), 3), np.uint8)
        index = render(
            made.scan.points, colors, view, shown, 96 / max(shown.width, shown.height)
        ).index
        seen = int(labels[index[index >= 0]].sum())
        if seen > most:
            best, most = view, seen
    return best


def close_up(made: Synthesized, view: View) -> Frame:
    """Around the labelled surface, with as much of the part again to each side."""
    labels = made.scan.labels
    assert labels is not None
    spot = made.scan.points[labels]
    whole = frame(made.scan.points, [view])
    side = 2.4 * float(np.ptp(spot @ view.rotation[:2].T, axis=0).max())
    side = min(side, max(whole.width, whole.height))
    return Frame((spot.min(axis=0) + spot.max(axis=0)) / 2, side, side)


def defects() -> Image.Image:
    """Every kind: the good twin, and beside it the defective scan with its labels."""
    columns, line = 3, 24
    rows = -(-len(EXAMPLES) // columns)
    picture = Image.new("RGB", (columns * (2 * TILE + 12), rows * (TILE + line)), "white")
    for place, (kind, (family, seed)) in enumerate(EXAMPLES.items()):
        shape = SOLIDS[family](np.random.default_rng(seed))
        settings = replace(SHOWN, kinds=(kind,))
        made, twin = synthesize(shape, seed, settings), good_twin(shape, seed, settings)
        if made.kind != kind:
            raise SystemExit(f"{family} {seed}: no {kind} there; choose another seed")
        assert made.scan.labels is not None
        assert twin.scan.labels is not None
        view = telling_view(made, around())
        shown = close_up(made, view)
        left, top = place % columns * (2 * TILE + 12), place // columns * (TILE + line)
        good = drawn(twin.scan.points, marked(twin.scan.labels), view, shown)
        picture.paste(good, (left, top + line))
        right = drawn(made.scan.points, marked(made.scan.labels), view, shown)
        picture.paste(right, (left + TILE, top + line))
        write(picture, left + 6, top, kind)
    return picture


def solids() -> Image.Image:
    """One part of every family."""
    columns, line = 6, 24
    rows = -(-len(SOLIDS) // columns)
    picture = Image.new("RGB", (columns * TILE, rows * (TILE + line)), "white")
    view = View("", turned(np.array([0.8, -1.0, 0.75])))
    for place, (family, make) in enumerate(SOLIDS.items()):
        rng = np.random.default_rng(5)
        points = sample_surface(make(rng), 150_000, rng).points.astype(np.float64)
        colors = marked(np.zeros(len(points), dtype=bool))
        tile = drawn(points, colors, view, frame(points, [view]))
        left, top = place % columns * TILE, place // columns * (TILE + line)
        picture.paste(tile, (left, top + line))
        write(picture, left + 6, top, family)
    return picture


def write(picture: Image.Image, left: int, top: int, text: str) -> None:
    """A line of text."""
    font = ImageFont.load_default(16)
    ImageDraw.Draw(picture).text((left, top + 2), text, fill=INK, font=font)


if __name__ == "__main__":
    for name, make in (("defects", defects), ("solids", solids)):
        make().quantize(96).save(HERE / f"{name}.png", optimize=True)
