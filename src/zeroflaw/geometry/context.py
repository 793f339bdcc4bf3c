"""How unusual a place is on its own scan: values relative to the scan, and self-similarity."""

from __future__ import annotations

import numpy as np
import torch

from zeroflaw.types import Float32, Int64

SIMILARITY_RANKS = (6, 12, 24)


def robust_range(features: Float32) -> tuple[Float32, Float32]:
    """Return the median and the robust deviation of each feature over the scan.

    features: (N, F). Returns two (F,) arrays. The deviation is 1.4826 times the median absolute
    deviation, the normal distribution's, and at least a quarter of the mean absolute deviation
    plus a thousandth of the mean absolute value, so that nothing is divided by nearly zero.
    """
    median = np.median(features, axis=0).astype(np.float32)
    distance = np.abs(features - median)
    deviation = 1.4826 * np.median(distance, axis=0)
    floor = 0.25 * distance.mean(axis=0) + 1e-3 * np.abs(features).mean(axis=0) + 1e-6
    return median, np.maximum(deviation, floor).astype(np.float32)


def patch_signature(features: Float32, patches: Int64) -> Float32:
    """Return what a patch looks like, whatever the order of its points: means and deviations.

    features: (N, F), already relative to the scan. patches: (G, M) indices. Returns (G, 2F).
    """
    gathered = torch.from_numpy(features)[torch.from_numpy(patches)]
    deviation, mean = torch.std_mean(gathered, dim=1, correction=0)
    return torch.cat([mean, deviation], dim=1).numpy()


def self_similarity(signature: Float32, ranks: tuple[int, ...] = SIMILARITY_RANKS) -> Float32:
    """Return each patch's distances to its most similar patches of the same scan.

    signature: (G, F). Returns (G, len(ranks)): the distance to the k-th most similar other patch,
    in units of the scan's median of that distance. A scan with fewer patches than a rank takes
    the farthest there is.
    """
    values = torch.from_numpy(signature)
    distance = torch.cdist(values, values)
    count = len(signature)
    most = min(max(ranks), count - 1)
    if most < 1:
        return np.ones((count, len(ranks)), dtype=np.float32)
    nearest = distance.topk(most + 1, largest=False, sorted=True).values
    picked = nearest[:, [min(rank, most) for rank in ranks]]
    typical = picked.median(dim=0).values.clamp_min(1e-6)
    return (picked / typical).numpy()
