"""The picture of an inspection: its heat map from four sides."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zeroflaw.geometry.cameras import Frame, View, four_views, frame
from zeroflaw.geometry.render import Rendered, centered, closing_radius, render
from zeroflaw.io.atomic import replacing
from zeroflaw.io.colors import heat, viridis
from zeroflaw.reports.numbers import length_text, plural, round_length
from zeroflaw.types import Inspection, Int64

PANEL = 420  # pixels: the longest side of a view in the 2 x 2 arrangement
TALL = 1.35  # views this much taller than wide stand in one row
FINER = 2  # drawn this much larger, then averaged: smooth outlines
HEADER, FOOTER, MARGIN = 64, 52, 18
INK, FAINT, ALARM = (32, 36, 44), (112, 118, 130), (176, 32, 32)
MARKED = 5  # regions that get their number in the picture
LINE = 17  # pixels that a label is high
Box = tuple[int, int, int, int]  # left, top, right, bottom


def heat_map(inspection: Inspection) -> Image.Image:
    """The scan from four sides, coloured by its point scores, with numbered regions and scales."""
    scan = inspection.scan
    views = four_views(scan)
    shown = frame(scan.points, views)
    across = 4 if shown.height > TALL * shown.width else 2
    longest = PANEL * (1.25 if across == 4 else 1.0)
    pixels_per_unit = longest / max(shown.width, shown.height)
    panels = _panels(inspection, views, shown, pixels_per_unit)
    width, height = panels[0].size
    columns = max(across * width + (across + 1) * MARGIN, 560)
    rows = 4 // across
    size = (columns, HEADER + rows * (height + MARGIN) + FOOTER)
    picture = Image.new("RGB", size, "white")
    start = (columns - across * width - (across - 1) * MARGIN) // 2
    for number, panel in enumerate(panels):
        row, column = divmod(number, across)
        place = (start + column * (width + MARGIN), HEADER + row * (height + MARGIN))
        picture.paste(panel, place)
    _write_header(picture, inspection)
    _write_footer(picture, inspection, pixels_per_unit)
    return picture


def write_heat_map(path: Path, inspection: Inspection) -> None:
    """Write the picture as a PNG file, whole or not at all. Raises ZeroflawError."""
    picture = heat_map(inspection)
    with replacing(path) as file:
        picture.save(file, format="PNG", compress_level=2)


def _panels(
    inspection: Inspection, views: Sequence[View], shown: Frame, pixels_per_unit: float
) -> list[Image.Image]:
    """One picture for each view, side by side on two threads, with the regions it shows well."""
    points, finer = centered(inspection.scan.points, shown), FINER * pixels_per_unit
    shown = replace(shown, center=np.zeros(3))
    colors = heat(inspection.point_scores, inspection.point_threshold)
    radius = closing_radius(points, views, shown, finer)
    with ThreadPoolExecutor(2) as pool:
        drawn = list(
            pool.map(lambda view: render(points, colors, view, shown, finer, radius), views)
        )
    panels = [Image.fromarray(one.image).reduce(FINER) for one in drawn]
    for view, panel in zip(views, panels, strict=True):
        ImageDraw.Draw(panel).text((4, 2), view.name, fill=FAINT, font=_font(13))
    _mark_regions(inspection, drawn, panels)
    return panels


def _mark_regions(
    inspection: Inspection, drawn: Sequence[Rendered], panels: Sequence[Image.Image]
) -> None:
    """Put a numbered box around each region in the views that show enough of it."""
    owner = np.zeros(len(inspection.scan) + 1, dtype=np.uint8)  # the last one: the background
    for number, region in enumerate(inspection.regions[:MARKED], 1):
        owner[region.index] = number
    seen = [owner[one.index] for one in drawn] if inspection.regions else []
    written: list[list[Box]] = [[] for _ in panels]
    for number, region in enumerate(inspection.regions[:MARKED], 1):
        label = f"{number} {region.kind or ''}".strip()
        pixels = [np.nonzero(one == number) for one in seen]
        most = max(len(rows) for rows, _ in pixels)
        for panel, taken, (rows, columns) in zip(panels, written, pixels, strict=True):
            if len(rows) > 0.25 * most:
                box = _middle_box(rows // FINER, columns // FINER)
                taken.append(_write_label(panel, label, box, taken))


def _middle_box(rows: Int64, columns: Int64) -> Box:
    top, bottom = np.quantile(rows, (0.03, 0.97))
    left, right = np.quantile(columns, (0.03, 0.97))
    return int(left), int(top), int(right), int(bottom)


def _write_label(panel: Image.Image, label: str, box: Box, taken: Sequence[Box]) -> Box:
    """A box around the region, its number and name at the upper right corner, or below others.

    taken: where labels are already. Returns where this one is.
    """
    pen, font = ImageDraw.Draw(panel), _font(15)
    wide, high = panel.size
    left, top = max(box[0] - 5, 1), max(box[1] - 5, 1)
    right, bottom = min(box[2] + 5, wide - 2), min(box[3] + 5, high - 2)
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline="white")
    pen.rectangle((left, top, right, bottom), outline=INK)
    length = round(pen.textlength(label, font=font))
    x, y = min(right + 3, wide - 4 - length), max(top - 12, 0)
    for other in sorted(taken, key=lambda one: one[1]):
        if x < other[2] and other[0] < x + length and abs(y - other[1]) < LINE:
            y = other[1] + LINE
    pen.text((x, y), label, fill=INK, font=font, stroke_width=2, stroke_fill="white")
    return x, y, x + length, y + LINE


def _write_header(picture: Image.Image, inspection: Inspection) -> None:
    pen = ImageDraw.Draw(picture)
    verdict = "defective" if inspection.defective else "good"
    right = f"{verdict}  {inspection.score:.3f}"
    font = _font(22)
    edge = picture.width - MARGIN - pen.textlength(right, font=font)
    pen.text((edge, 12), right, fill=ALARM if inspection.defective else INK, font=font)
    plain = "".join(one if one.isprintable() else "�" for one in inspection.scan.name)
    name = _shortened(pen, plain, edge - 2 * MARGIN)
    pen.text((MARGIN, 12), name, fill=INK, font=font)
    regions = inspection.regions
    parts = [plural(len(inspection.scan), "point"), plural(len(regions), "region")]
    if inspection.prompt is not None:
        parts.append(f"{inspection.prompt} alone")
    if regions:
        parts.append(f"largest {length_text(max(region.size for region in regions))}")
    parts.append(f"detector {inspection.detector}")
    if inspection.promise is not None:
        parts.append(f"false alarms at most {100 * inspection.promise.false_alarms:g} %")
    pen.text((MARGIN, 40), " · ".join(parts), fill=FAINT, font=_font(14))


def _shortened(pen: ImageDraw.ImageDraw, text: str, width: float) -> str:
    """The text, its middle left out where it would not fit."""
    font = _font(22)
    if pen.textlength(text, font=font) <= width:
        return text
    kept = len(text)
    while kept > 4:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if pen.textlength(short, font=font) <= width:
            return short
    return text[:4]


def _write_footer(picture: Image.Image, inspection: Inspection, pixels_per_unit: float) -> None:
    """Left the scale of lengths in the scan's unit, right the scale of colours."""
    pen, font = ImageDraw.Draw(picture), _font(13)
    base = picture.height - 24
    length = round_length(0.5 * PANEL / pixels_per_unit)
    end = MARGIN + round(length * pixels_per_unit)
    pen.line((MARGIN, base, end, base), fill=INK, width=2)
    for x in (MARGIN, end):
        pen.line((x, base - 4, x, base + 4), fill=INK, width=1)
    pen.text((MARGIN, base - 22), f"{length:g}", fill=INK, font=font)
    wide = min(240, picture.width // 3)
    left = picture.width - MARGIN - wide
    ramp = np.broadcast_to(viridis(np.linspace(0, 1, wide, dtype=np.float32)), (12, wide, 3))
    picture.paste(Image.fromarray(np.ascontiguousarray(ramp)), (left, base - 6))
    threshold = inspection.point_threshold
    middle = threshold if 0 < threshold < 1 else 0.5
    for place, value in ((0.0, 0.0), (0.5, middle), (1.0, 1.0)):
        where = (left + place * (wide - 1), base + 8)
        pen.text(where, f"{value:.2g}", fill=INK, font=font, anchor="mt")
    tip = left + (0.5 if middle == threshold else min(max(threshold, 0), 1)) * (wide - 1)
    pen.polygon([(tip - 5, base - 13), (tip + 5, base - 13), (tip, base - 7)], fill=INK)
    pen.text((left - 8, base), "point score", fill=FAINT, font=font, anchor="rm")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
