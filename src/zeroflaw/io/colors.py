"""The viridis colours of scores."""

from __future__ import annotations

import numpy as np

from zeroflaw.types import Float32, UInt8

# Viridis at 0, 0.1, …, 1 (matplotlib's colour map, CC0); between them colours are interpolated.
ANCHORS = (
    (68, 1, 84),
    (72, 36, 117),
    (65, 68, 135),
    (53, 95, 141),
    (42, 120, 142),
    (33, 145, 140),
    (34, 168, 132),
    (68, 191, 112),
    (122, 209, 81),
    (189, 223, 38),
    (253, 231, 37),
)


def viridis(scores: Float32) -> UInt8:
    """Colours (…, 3) of scores in [0, 1]; what lies outside takes the nearest end's."""
    places = np.linspace(0, 1, len(ANCHORS))
    steps = np.linspace(0, 1, 256)
    table = np.stack([np.interp(steps, places, channel) for channel in zip(*ANCHORS, strict=True)])
    colors: UInt8 = np.rint(table.T).astype(np.uint8)
    chosen: UInt8 = colors[
        np.clip(scores * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
    ]
    return chosen


def heat(scores: Float32, threshold: float) -> UInt8:
    """Viridis colours (…, 3) of scores in [0, 1] on a scale whose middle is the threshold.

    Linear from 0 to the threshold and from there to 1, so that what is marked shows however small
    its score. A threshold outside of (0, 1) leaves the scale linear.
    """
    if not 0 < threshold < 1:
        return viridis(scores)
    at = np.float32(threshold)
    below, above = scores / (2 * at), (1 + (scores - at) / (1 - at)) / 2
    return viridis(np.where(scores < at, below, above).astype(np.float32))
