"""Pictures of stored scans: the ground truth beside the heat map, from the side that shows it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from zeroflaw.geometry.cameras import View, four_views, frame
from zeroflaw.geometry.render import Rendered, closing_radius, render
from zeroflaw.io.colors import viridis
from zeroflaw.reports.stored import StoredScores
from zeroflaw.reports.summaries import ScanSummary
from zeroflaw.reports.view_sheet import view_sheet
from zeroflaw.types import Bool, Float32, Float64, Scan, UInt8

PANEL = 320  # pixels: the longest side of a picture
FINER = 2  # drawn this much larger, then averaged: smooth outlines
SURFACE, DEFECT = (176, 182, 192), (224, 88, 24)  # of the ground truth
OUTLINE = (255, 255, 255)  # of the ground truth, on the heat map
PALETTE = 96  # colours of a picture's file


GROUPS = {
    "missed": ("Missed defects", "Defective scans that score below good ones or the threshold."),
    "alarms": ("False alarms", "Good scans that score above defective ones or the threshold."),
    "misplaced": (
        "Defects in the wrong place",
        "Other defective scans whose scores point elsewhere: the lowest AUROC within the scan.",
    ),
    "best": ("Best hits", "Defective scans found and located best."),
}
MISPLACED = 0.9  # AUROC within a scan below which the heat map points elsewhere


@dataclass(frozen=True, eq=False)
class Pictures:
    """A scan from one side. truth, heat: PNG files as `data:` addresses, with clear background.

    side: the name of the side, such as "front". size: width and height in pixels. views,
    views_size: the same of the sheet of views, "" of a method that looks at none. count: of views.
    """

    truth: str
    heat: str
    side: str
    size: tuple[int, int]
    views: str = ""
    views_size: tuple[int, int] = (0, 0)
    count: int = 0

    @property
    def length(self) -> int:
        """How many bytes they take in a page."""
        return len(self.truth) + len(self.heat) + len(self.views)


def choose(
    scans: Sequence[ScanSummary], most: int, threshold: float | None
) -> dict[str, list[ScanSummary]]:
    """Return which scans to look at, worst first: at most so many of each kind, none twice.

    The keys are those of GROUPS. Scans are sorted by `error`, so that categories whose scores have
    another range compare; where it is undefined, and among equal ones, by their score. threshold:
    from which a scan is called defective; a scan on its wrong side is an error, too.
    """

    def wrong(scan: ScanSummary) -> bool:
        beyond = threshold is not None and (scan.score >= threshold) != scan.defective
        return scan.error > 0 or beyond

    defective = sorted((scan for scan in scans if scan.defective), key=lambda scan: scan.name)
    good = sorted((scan for scan in scans if not scan.defective), key=lambda scan: scan.name)
    missed = sorted(
        filter(wrong, defective), key=lambda scan: (-_defined(scan.error, 0.0), scan.score)
    )[:most]
    alarms = sorted(
        filter(wrong, good), key=lambda scan: (-_defined(scan.error, 0.0), -scan.score)
    )[:most]
    shown = {scan.stored for scan in missed}
    rest = [scan for scan in defective if scan.stored not in shown]
    misplaced = sorted(
        (scan for scan in rest if scan.point_auroc < MISPLACED), key=lambda scan: scan.point_auroc
    )[:most]
    shown |= {scan.stored for scan in misplaced}
    rest = [scan for scan in rest if scan.stored not in shown and not scan.error > 0.5]
    best = sorted(
        rest, key=lambda scan: _defined(scan.error, 0.0) - _defined(scan.point_auroc, 0.0)
    )[:most]
    return {"missed": missed, "alarms": alarms, "misplaced": misplaced, "best": best}


def pictures(scores: StoredScores, low: float, high: float) -> Pictures:
    """Return pictures of the stored preview, and of the views where a method looked at some.

    The side is the one that shows most of the ground truth or, on a good scan, most of the
    strongest scores. low, high: the point scores that the darkest and the brightest colour show.
    """
    points = scores.preview_points.astype(np.float64)
    marked = scores.label[scores.preview_index]
    heat = scores.point[scores.preview_index]
    view = _telling_view(points, marked if marked.any() else _strongest(heat))
    shown = frame(points, [view])
    scale = FINER * PANEL / max(shown.width, shown.height)
    radius = closing_radius(points, [view], shown, scale)
    colors = np.where(marked[:, None], DEFECT, SURFACE).astype(np.uint8)
    relative = (heat - low) / max(high - low, 1e-12)
    warm = viridis(np.clip(relative, 0, 1).astype(np.float32))
    ground, map_ = (render(points, one, view, shown, scale, radius) for one in (colors, warm))
    map_.image[_edge(_on_surface(ground, marked))] = OUTLINE
    truth = _averaged(ground)
    drawn = Pictures(_address(truth), _address(_averaged(map_)), view.name, _size(truth))
    count = scores.views.shape[1]
    if count == 0:
        return drawn
    sheet = view_sheet(scores.views, low, high)
    return replace(drawn, views=_address(sheet), views_size=_size(sheet), count=count)


def _size(picture: UInt8) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def ramp() -> str:
    """Return the scale of colours from the lowest to the highest, as a `data:` address."""
    colors = viridis(np.linspace(0, 1, 128, dtype=np.float32))[None]
    return _png(Image.fromarray(np.ascontiguousarray(np.repeat(colors, 8, axis=0))))


def _defined(value: float, instead: float) -> float:
    return value if math.isfinite(value) else instead


def _telling_view(points: Float64, marked: Bool) -> View:
    """The side that shows most of the marked points, judged on small pictures."""
    views = four_views(Scan(points))
    shown = frame(points, views)
    scale = PANEL / 2 / max(shown.width, shown.height)
    radius = closing_radius(points, views, shown, scale)
    grey = np.zeros((len(points), 3), dtype=np.uint8)
    seen = [
        np.count_nonzero(_on_surface(render(points, grey, view, shown, scale, radius), marked))
        for view in views
    ]
    return views[int(np.argmax(seen))]


def _strongest(heat: Float32) -> Bool:
    """Which points score among the highest hundredth, if any stands out."""
    strong: Bool = heat >= np.quantile(heat, 0.99)
    return strong


def _on_surface(drawn: Rendered, marked: Bool) -> Bool:
    """(H, W), the pixels that show a marked point."""
    there: Bool = np.append(marked, False)[drawn.index]  # the last one: the background
    return there


def _edge(area: Bool) -> Bool:
    """The pixels outside an area that touch it, in a line two pixels wide."""
    grown = area.copy()
    for _ in range(2):
        wider = grown.copy()
        wider[1:] |= grown[:-1]
        wider[:-1] |= grown[1:]
        wider[:, 1:] |= grown[:, :-1]
        wider[:, :-1] |= grown[:, 1:]
        grown = wider
    edge: Bool = grown & ~area
    return edge


def _averaged(drawn: Rendered) -> UInt8:
    """(H, W, 4): the picture reduced by FINER, clear where there is no surface."""
    height, width = (side - side % FINER for side in drawn.index.shape)
    solid = (drawn.index >= 0) | (drawn.image != 255).any(axis=2)
    layers = np.concatenate([drawn.image * solid[..., None], solid[..., None] * 255], axis=2)
    blocks = layers[:height, :width].reshape(height // FINER, FINER, width // FINER, FINER, 4)
    mean = blocks.mean(axis=(1, 3), dtype=np.float32)
    cover = mean[..., 3:] / 255
    mean[..., :3] = np.divide(mean[..., :3], cover, out=mean[..., :3] * 0, where=cover > 0)
    picture: UInt8 = np.rint(mean).astype(np.uint8)
    return picture


def _address(picture: UInt8) -> str:
    image = Image.fromarray(picture, "RGBA")
    return _png(image.quantize(PALETTE, method=Image.Quantize.FASTOCTREE))


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
