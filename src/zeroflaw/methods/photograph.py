"""The photograph of an organised scan, made of its points' colours, as one more view.

Source: Zhou et al., "PointAD" (NeurIPS 2024): a photograph is scored by the prompts that were
learned on rendered views, without any training of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import binary_closing, distance_transform_edt
from torch import Tensor
from torch.nn import functional

from zeroflaw.geometry.view_frame import MARGIN
from zeroflaw.methods.smoothing import grid_cells
from zeroflaw.types import Bool, Scan, UInt8

HOLE = 0.01  # of the frame: half the width of gaps that take the colour beside them


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture of one scan, S pixels wide and high, and its N points in it.

    picture: (3, S, S) float32 in [0, 1], the part in its colours on white, as views are. pixel:
    (N,) int64, row · S + column of every point.
    """

    picture: Tensor
    pixel: Tensor


def photograph(scan: Scan, size: int) -> Photograph | None:
    """Return the photograph of an organised scan with colours; None for a scan without one.

    size: S. A square around the scan's points with the views' margin is shown, so that it does not
    matter where in the sensor's picture the part lies. Cells without a point are white, but gaps of
    some cells between points take the colour of the nearest one. Colours that are all alike show
    nothing and are no photograph.
    """
    cells = grid_cells(scan)
    if cells is None or scan.grid is None or scan.colors is None or len(cells) == 0:
        return None
    if bool((scan.colors == scan.colors[0]).all()):
        return None
    row, column = np.divmod(cells, scan.grid[1])
    tall, wide = int(np.ptp(row)) + 1, int(np.ptp(column)) + 1
    side = round(max(tall, wide) / (1 - 2 * MARGIN))
    row += (side - tall) // 2 - row.min()
    column += (side - wide) // 2 - column.min()
    held = np.zeros((side, side), dtype=np.bool_)
    colors = np.full((side, side, 3), 255, dtype=np.uint8)
    held[row, column], colors[row, column] = True, scan.colors
    whole = torch.from_numpy(without_gaps(colors, held)).permute(2, 0, 1).float() / 255
    picture = functional.interpolate(
        whole[None], (size, size), mode="bilinear", align_corners=False, antialias=True
    )[0]
    across, down = ((2 * one + 1) * size // (2 * side) for one in (column, row))
    return Photograph(picture.clamp(0, 1), torch.from_numpy(down * size + across))


def without_gaps(colors: UInt8, held: Bool) -> UInt8:
    """Return the picture with narrow gaps between held pixels in the colour of the nearest one.

    colors: (S, S, 3); held: (S, S).
    """
    reach = max(1, round(HOLE * len(held)))
    wide = np.pad(held, reach)  # closing takes what lies outside for empty
    steps = np.arange(-reach, reach + 1)
    disc = np.hypot(steps[:, None], steps[None, :]) <= reach
    gaps = binary_closing(wide, disc)[reach:-reach, reach:-reach] & ~held
    _, nearest = distance_transform_edt(~held, return_indices=True)
    filled = colors.copy()
    filled[gaps] = colors[nearest[0][gaps], nearest[1][gaps]]
    return filled
