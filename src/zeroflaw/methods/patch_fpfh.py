"""FPFH of patches: what GFCM's learned descriptors are held against in training."""

from __future__ import annotations

from typing import Literal

from zeroflaw.geometry.descriptors import principal_normals, spacing
from zeroflaw.geometry.fpfh import fpfh
from zeroflaw.geometry.neighbors import knn
from zeroflaw.geometry.normalize import normalize
from zeroflaw.geometry.orient import orientation
from zeroflaw.geometry.thin import thin
from zeroflaw.types import Float32, Float64, Int64

Source = Literal["dense", "sampled"]

DENSE_POINTS = 16384
# Radii in spacings of the dense points: about 25 neighbours for a normal, 100 for a histogram.
NORMAL_SPACINGS, FPFH_SPACINGS = 3.0, 6.0
# Radii in the unit sphere, as in BTP's release.
NORMAL_RADIUS, FPFH_RADIUS = 0.05, 0.1


def patch_fpfh(
    points: Float64, sampled: Int64, patches: Int64, source: Source = "dense"
) -> Float32:
    """Return the element-wise maximum of each patch's FPFH, (G, 33).

    points: (N, 3), the whole scan; sampled: (K,) into it; patches: (G, M) into the sampled points.
    source: "dense" computes on the scan, thinned to DENSE_POINTS, with radii that follow its
    spacing. "sampled" computes on the sampled points in the unit sphere with the release's radii,
    which hold about three neighbours at 2048 points, and normals whose signs nobody chose: Open3D's
    up to these signs.
    """
    if source == "sampled":
        sphere, _ = normalize(points[sampled])
        direction = principal_normals(sphere, radius=NORMAL_RADIUS, k=30)
        own = fpfh(sphere, direction, FPFH_RADIUS, 100)
    else:
        dense = points[thin(points, DENSE_POINTS).index] if len(points) > DENSE_POINTS else points
        step = spacing(dense)
        axis = principal_normals(dense, radius=NORMAL_SPACINGS * step, k=30)
        outward = axis * orientation(dense, axis)[:, None]
        histograms = fpfh(dense, outward, FPFH_SPACINGS * step, 100)
        _, nearest = knn(dense, points[sampled], 1)
        own = histograms[nearest[:, 0]]
    largest: Float32 = own[patches].max(axis=1)
    return largest
