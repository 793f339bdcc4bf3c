"""The unit sphere that encoders work in, and the way back to the user's frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zeroflaw.types import Float32, Float64, ScanError


@dataclass(frozen=True, eq=False)
class Frame:
    """Where the unit sphere lies in the user's frame.

    center: (3,) float64, its middle. scale: its radius; both in the user's unit.
    """

    center: Float64
    scale: float

    def apply(self, points: NDArray[Any]) -> Float32:
        """Return points of the user's frame, (..., 3), in the unit sphere's; float32."""
        offset = np.asarray(points, dtype=np.float64) - self.center
        return (offset / self.scale).astype(np.float32)

    def restore(self, points: NDArray[Any]) -> Float64:
        """Return points of the unit sphere's frame, (..., 3), in the user's; float64."""
        return np.asarray(points, dtype=np.float64) * self.scale + self.center


def normalize(points: NDArray[Any]) -> tuple[Float32, Frame]:
    """Return the points moved and scaled into the unit sphere, and the frame that undoes it.

    points: (N, 3), finite, any unit. x ← (x − mean) / max‖x − mean‖ in float64, so that offsets
    of millions cost no precision; only the result is rounded. Returns (N, 3) float32 and a Frame.
    Raises ScanError where there is no point or all points are equal.
    """
    exact = np.asarray(points, dtype=np.float64)
    if exact.ndim != 2 or exact.shape[1] != 3:
        raise ValueError(f"points have shape {exact.shape}, expected (N, 3)")
    if len(exact) == 0:
        raise ScanError(None, "there are no points", "give a scan with at least two points")
    near = exact[0]
    offset = exact - near
    mean = offset.mean(axis=0)
    offset -= mean
    scale = float(np.sqrt(np.einsum("ij,ij->i", offset, offset).max()))
    if not scale > 0 or not np.isfinite(scale):
        problem = "all points are equal" if scale == 0 else "points are not finite"
        raise ScanError(None, problem, "give a scan of a surface with finite coordinates")
    return (offset / scale).astype(np.float32), Frame(center=near + mean, scale=scale)
