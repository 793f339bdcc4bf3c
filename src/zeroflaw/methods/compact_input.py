"""What the compact detector reads off a scan: invariant descriptors, dense points and patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from zeroflaw.geometry.context import (
    SIMILARITY_RANKS,
    patch_signature,
    robust_range,
    self_similarity,
)
from zeroflaw.geometry.moments import DESCRIPTOR_NAMES, local_descriptors
from zeroflaw.geometry.neighbors import group
from zeroflaw.geometry.normalize import normalize
from zeroflaw.geometry.rim import NEAR, boundary_distance
from zeroflaw.geometry.sample import farthest_point_sample
from zeroflaw.geometry.thin import thin
from zeroflaw.methods.base import Prepared
from zeroflaw.types import Float32, Float64, Int64

DESCRIPTORS = len(DESCRIPTOR_NAMES)
LOCAL_CHANNELS = 4
CONTEXT_CHANNELS = 2 * len(SIMILARITY_RANKS) + 2
NEAREST_PATCHES = 3


@dataclass(frozen=True)
class InputSettings:
    """How densely a scan is looked at.

    dense: most points that are described. groups: patches. size: points in a patch. edge:
    whether the boundary of the scan is looked for.
    """

    dense: int = 16384
    groups: int = 512
    size: int = 32
    edge: bool = False


def read_scan(points: Float64, settings: InputSettings) -> Prepared:
    """Return the compact detector's input of one scan (batch axis of one).

    points: (P, 3), any unit and frame. With N described points, G patches of M points and F
    descriptors: `index` (1, N) of the described points in the scan, and `mean` (1, N, 3) float64,
    where they are in its frame; `point` (1, N, F); `location` and `deviation` (1, F), the scan's
    own median and robust deviation; `patch`
    (1, G, M, F + 4), descriptors and place within the patch; `patch_index` (1, G, M) into the
    described points; `context` (1, G, K); `center` (1, G, 3) in the unit sphere; `near` and
    `weight` (1, N, 3), each point's nearest patches. With edge, `edge` (1, N), how near
    the boundary of the scan points are: 1 on it, 1/e at `rim.NEAR`.
    """
    thinned = thin(points, settings.dense)
    position, _ = normalize(thinned.mean)
    normal, descriptor = local_descriptors(position, workers=torch.get_num_threads())
    location, deviation = robust_range(descriptor)
    relative = np.clip((descriptor - location) / deviation, -8.0, 8.0)
    start = int(np.argmax(np.einsum("ij,ij->i", position, position)))
    chosen = farthest_point_sample(position, min(settings.groups, len(position)), start=start)
    patches = group(position, chosen, min(settings.size, len(position)))
    center = position[chosen]
    local, radius = place_in_patch(position, normal, chosen, patches)
    similarity = self_similarity(patch_signature(relative, patches))
    middle = np.linalg.norm(center, axis=1)[:, None]
    context = np.concatenate(
        [similarity - 1, np.log(similarity + 0.05), np.log(radius), middle], axis=1
    )
    near, weight = nearest_patches(position, center)
    tensors = {
        "index": thinned.index,
        "mean": thinned.mean,
        "point": descriptor,
        "location": location,
        "deviation": deviation,
        "patch": np.concatenate([descriptor[patches], local], axis=2),
        "patch_index": patches,
        "context": context.astype(np.float32),
        "center": center,
        "near": near,
        "weight": weight,
    }
    if settings.edge:
        distance = boundary_distance(position, normal)
        tensors["edge"] = np.exp(-distance / NEAR).astype(np.float32)
    return Prepared({name: torch.from_numpy(value)[None] for name, value in tensors.items()})


def place_in_patch(
    position: Float32, normal: Float32, chosen: Int64, patches: Int64
) -> tuple[Float32, Float32]:
    """Return where points lie in their patch, free of its pose, and the patches' radii.

    Returns (G, M, 4): distance from the patch's axis, signed height and distance from the centre,
    all in patch radii, and how far the normal leans from the centre's; and (G, 1) radii in units
    of the scan's.
    """
    offset = position[patches] - position[chosen][:, None]
    axis = normal[chosen][:, None]
    distance = np.linalg.norm(offset, axis=2)
    radius = np.maximum(distance.max(axis=1, keepdims=True), 1e-9)
    height = (offset * axis).sum(axis=2)
    aside = np.sqrt(np.maximum(distance**2 - height**2, 0))
    lean = (normal[patches] * axis).sum(axis=2)
    local = np.stack([aside / radius, height / radius, distance / radius, lean], axis=2)
    return local.astype(np.float32), radius.astype(np.float32)


def nearest_patches(position: Float32, center: Float32) -> tuple[Int64, Float32]:
    """Return each point's nearest patch centres (N, 3) and their inverse-distance weights."""
    count = min(NEAREST_PATCHES, len(center))
    distance, near = cKDTree(center).query(position, k=count, workers=torch.get_num_threads())
    distance, near = distance.reshape(-1, count), near.reshape(-1, count)
    weight = 1 / (distance + 0.1 * distance.mean() + 1e-12)
    weight /= weight.sum(axis=1, keepdims=True)
    return near.astype(np.int64), weight.astype(np.float32)
