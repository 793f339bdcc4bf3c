"""Losses of the view-based methods, on the pixels of the views, on points and on whole scans.

Focal and dice losses are checked against the releases on the arrays of `losses_public.npz`.
Sources: Lin et al., "Focal loss for dense object detection" (2017); Milletari et al., "V-Net"
(2016); used so by AnomalyCLIP (arXiv 2310.18961) and PointAD (arXiv 2410.00320).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zeroflaw.methods.losses import dice_loss

SMOOTHED = 1e-5  # what the one-hot target of the focal loss leaves for the other channel
DICE_SMOOTH = 1.0


def view_focal(anomalous: Tensor, mask: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the mean focal loss −(1 − p)^γ log p, p the probability of what a pixel truly is.

    anomalous: probability of "anomalous", the other channel being the rest; mask: 1 where it is
    true; any equal shape. The one-hot target is smoothed by 1e-5.
    """
    share = mask.clamp(SMOOTHED, 1 - SMOOTHED)
    right = share * anomalous + (1 - share) * (1 - anomalous) + SMOOTHED
    return -((1 - right).abs().pow(gamma) * torch.log(right)).mean()


def both_dice(anomalous: Tensor, mask: Tensor) -> Tensor:
    """Return the dice losses of "anomalous" and of "normal", added. Both: (B, ...)."""
    wrong, marked = anomalous.flatten(1), mask.flatten(1)
    return dice_loss(wrong, marked, DICE_SMOOTH) + dice_loss(1 - wrong, 1 - marked, DICE_SMOOTH)


def pixel_loss(anomalous: Tensor, mask: Tensor) -> Tensor:
    """Return focal and both dice losses of maps, each view being one picture.

    anomalous: (B, V, S, S) probabilities; mask: the same shape, 1 where a defect is seen.
    """
    pictures = anomalous.flatten(0, 1)
    marked = mask.flatten(0, 1).to(pictures)
    return view_focal(pictures, marked) + both_dice(pictures, marked)


def point_dice(anomalous: Tensor, labels: Tensor) -> Tensor:
    """Return the dice losses of both channels on points. anomalous, labels: (B, N)."""
    return both_dice(anomalous, labels)


def state_loss(logits: Tensor, anomalous: Tensor) -> Tensor:
    """Return the mean cross-entropy between normal and anomalous.

    logits: (..., 2), normal first; anomalous: (...), 1 where that is true.
    """
    return functional.cross_entropy(logits.reshape(-1, 2), anomalous.reshape(-1).long())
