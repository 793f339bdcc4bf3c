"""Where the points of a scan lie in its views, in pixels, and which way its surface faces there."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroflaw.geometry.cell_normals import cell_normals
from zeroflaw.geometry.descriptors import normals
from zeroflaw.geometry.thin import gridded
from zeroflaw.types import Float32, ScanError

MARGIN = 0.05  # of the picture's side, left white on each side
TAIL = 0.005  # share of points at either end of each axis that may be strays
BEYOND = 0.25  # how far past the rest's extent points still count, in it
SPARSE = (
    60_000  # points whose neighbours are searched for: cells of fewer mix thin walls more often
)
DENSE = 60_000  # cells that show a surface as finely as the pixels of nine views do
_BLOCK = 1 << 16


def view_normals(points: NDArray[Any]) -> Float32:
    """Unit normals, (N, 3), up to sign, as fine as views show them.

    points: (N, 3), any unit. They are of 30 neighbours; in a scan of more than `SPARSE` points, of
    small cells and those around them (`cell_normals`), each point having its cell's, which is
    quicker by far and averages noise that is finer than a pixel.
    """
    if len(points) <= SPARSE:
        return normals(points)
    grid = gridded(points, min(len(points) // 2, DENSE))
    return cell_normals(grid)[grid.cell]


def in_pixels(
    points: Tensor | NDArray[Any], rotations: Tensor, size: int, device: str | torch.device = "cpu"
) -> tuple[Tensor, float]:
    """A scan around the views' middle at the scale at which it fits into all of them.

    points: (N, 3), finite, any unit; rotations: (V, 3, 3) float64; size: of the pictures. Returns
    (3, N) float32 and how far the scan reaches in depth from the middle; both in pixels. A few
    stray points far away do not shrink the rest: they are left outside. Raises ScanError without
    points and for coordinates that are not finite.
    """
    exact = torch.as_tensor(points).to(device=device, dtype=torch.float64)
    if exact.ndim != 2 or exact.shape[1] != 3:
        raise ValueError(f"points have shape {tuple(exact.shape)}, expected (N, 3)")
    if len(exact) == 0:
        raise ScanError(None, "there are no points", "give a scan with at least one point")
    columns = exact.T.contiguous()
    if not bool(torch.isfinite(columns).all()):
        raise ScanError(None, "points are not finite", "leave out NaN and infinite coordinates")
    low, high = _steady_range(columns)
    center = low + (high - low) / 2
    columns = columns - center[:, None]
    across, deep = _reach(columns, low - center, high - center, rotations.to(columns))
    inner = size * (0.5 - MARGIN)
    scale = inner / across if across > 0 else inner / deep if deep > 0 else 1.0
    return (columns * scale).float(), deep * scale


def _steady_range(columns: Tensor) -> tuple[Tensor, Tensor]:
    """The box, (3,) and (3,), of all points but strays. columns: (3, N)."""
    count = columns.shape[1]
    tail = int(TAIL * (count - 1))
    least = columns.kthvalue(tail + 1, dim=1).values
    most = columns.kthvalue(count - tail, dim=1).values
    beyond = BEYOND * (most - least).max()
    low = torch.maximum(columns.amin(dim=1), least - beyond)
    high = torch.minimum(columns.amax(dim=1), most + beyond)
    return low, high


def _reach(columns: Tensor, low: Tensor, high: Tensor, rotations: Tensor) -> tuple[float, float]:
    """How far points in the box reach from its middle: across any view, and in depth."""
    most = torch.zeros(len(rotations) * 3, dtype=torch.float64, device=columns.device)
    turned = rotations.reshape(-1, 3)
    for part in torch.split(columns, _BLOCK, dim=1):
        inside = torch.minimum(torch.maximum(part, low[:, None]), high[:, None])
        most = torch.maximum(most, (turned @ inside).abs().amax(dim=1))
    # Rounded, for a product of matrices may differ in the last digits with a column's place.
    right, up, toward = most.float().reshape(-1, 3).amax(dim=0).tolist()
    return max(right, up), toward
