"""Losses of BTP: focal and dice on points, contrast between geometric features and FPFH.

All are checked against the authors' release on the arrays of `losses_public.npz`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Return the mean binary focal loss (Lin et al., 2017). logits, target: any equal shape."""
    cross = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = torch.sigmoid(logits)
    missed = target * (1 - probability) + (1 - target) * probability
    weight = target * alpha + (1 - target) * (1 - alpha)
    return (weight * missed.pow(gamma) * cross).mean()


def dice_loss(probability: Tensor, target: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Return 1 − dice coefficient, per cloud and averaged. probability, target: (B, N)."""
    shared = (probability * target).sum(dim=1)
    total = probability.sum(dim=1) + target.sum(dim=1)
    return (1 - (2 * shared + epsilon) / (total + epsilon)).mean()


def geometric_loss(geometric: Tensor, descriptor: Tensor, temperature: float = 0.1) -> Tensor:
    """Return InfoNCE between learned and computed descriptors, each row's positive its own patch.

    geometric, descriptor: (B, G, C). All B·G rows of a batch are each other's negatives.
    """
    ours = functional.normalize(geometric.flatten(0, 1), dim=-1)
    theirs = functional.normalize(descriptor.flatten(0, 1), dim=-1)
    logits = ours @ theirs.T / temperature
    return functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def object_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of the objects. logits, target: (B,)."""
    return functional.binary_cross_entropy_with_logits(logits, target)
