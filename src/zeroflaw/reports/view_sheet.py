"""The views that a method looked at, each with its map laid over it, on one sheet."""

from __future__ import annotations

import math

import numpy as np

from zeroflaw.geometry.view_render import BRIGHTEST
from zeroflaw.io.colors import viridis
from zeroflaw.types import Float32, UInt8

GAP = 6  # pixels between views
DARKEST = 0.4  # share of a colour's light that a surface seen at a slant keeps
GLOSS = 64  # added where the surface faces the viewer: shows form on dark colours
CLEAR = 255  # of a shaded view, where nothing is


def view_sheet(views: UInt8, low: float, high: float) -> UInt8:
    """Return the sheet, (H, W, 4), clear where there is no surface; row by row, nearly square.

    views: (2, V, P, P), shaded views and maps as `StoredScores` keeps them, V ≥ 1. low, high: of
    the maps, as shares of 1, that the darkest and the brightest colour show.
    """
    count, size = views.shape[1:3]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    step = size + GAP
    sheet = np.zeros((rows * step - GAP, columns * step - GAP, 4), dtype=np.uint8)
    for number, (shade, map_) in enumerate(zip(*views, strict=True)):
        top, left = (step * place for place in divmod(number, columns))
        sheet[top : top + size, left : left + size] = _laid_over(shade, map_, low, high)
    return sheet


def _laid_over(shade: UInt8, map_: UInt8, low: float, high: float) -> UInt8:
    """(P, P, 4): the map's colours in the light of the view."""
    level = (map_.astype(np.float32) / 255 - low) / max(high - low, 1e-12)
    colors = viridis(np.clip(level, 0, 1).astype(np.float32))
    brightest = round(255 * BRIGHTEST)  # as it is stored
    light: Float32 = np.clip(shade.astype(np.float32) / brightest, 0, 1)
    lit = colors * (DARKEST + (1 - DARKEST) * light)[..., None] + (GLOSS * light**4)[..., None]
    cover = np.clip((CLEAR - shade.astype(np.float32)) / (CLEAR - brightest), 0, 1) * 255
    laid: UInt8 = (
        np.rint(np.concatenate([lit, cover[..., None]], axis=2)).clip(0, 255).astype(np.uint8)
    )
    return laid
