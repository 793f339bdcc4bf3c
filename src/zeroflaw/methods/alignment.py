"""Align3D-AD's parts: aligners of rendered features, coloured views, and the losses of both stages.

All losses are checked against the release on the arrays of `clip_public.npz`.
Source: "Align3D-AD" (arXiv 2605.05850).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.geometry.view_render import BRIGHTEST, Views
from zeroflaw.types import UInt8


class Aligner(nn.Module):
    """Three layers that map features of rendered views to those of the coloured ones."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(width, width)
        self.projection = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """features: (..., D). Returns the same shape, unit length."""
        hidden = functional.gelu(self.input(features))
        hidden = functional.gelu(self.projection(hidden))
        return functional.normalize(self.output(hidden), dim=-1)


def gap(aligned: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 − cosine, (...). aligned, wanted: (..., D), unit length."""
    return 1 - (aligned * wanted).sum(dim=-1)


def semantic_consistency(rendered: Tensor, colored: Tensor) -> Tensor:
    """Return each rendered token's mean cosine to all coloured tokens of its view, (..., T).

    rendered, colored: (..., T, D), unit length; the class token is one of them.
    """
    mean = colored.mean(dim=-2)  # of cosines to all is the cosine to their mean
    return (rendered * mean[..., None, :]).sum(dim=-1)


def weighted_gap(gaps: Tensor, consistency: Tensor, strength: float) -> Tensor:
    """Return the mean of the tokens' gaps, weighed by 1 + strength · sigmoid(consistency)."""
    return ((1 + strength * torch.sigmoid(consistency)) * gaps).mean()


def dual_contrast(own: Tensor, other: Tensor) -> Tensor:
    """Return the dual-prompt contrastive loss of one branch's texts.

    own, other: (2, D), normal first, unit length. Each of the branch's texts is drawn to the same
    state's text of the other branch, which learns nothing of it, and away from its own branch's
    text of the other state.
    """
    toward = (own * other.detach()).sum(dim=-1)
    away = (own * own.flip(0)).sum(dim=-1)
    logits = torch.stack([toward, away], dim=-1)
    return functional.cross_entropy(logits, torch.zeros_like(toward, dtype=torch.int64))


def colored_views(views: Views, colors: UInt8 | None) -> Tensor:
    """Return the shaded views in the scan's colours, (V, 3, S, S) float32 in [0, 1].

    colors: (N, 3), of the points; without them the views stay grey. A pixel takes the mean colour
    of the visible points in the nearest pixel that has some.
    """
    count, size = len(views.shade), views.shade.shape[-1]
    if colors is None:
        return views.shade[:, None].expand(-1, 3, -1, -1)
    given = torch.from_numpy(colors.astype(np.int64))
    pictures = []
    for number in range(count):
        seen = views.visible[number].cpu()
        where = views.pixel[number].cpu()[seen]
        total = torch.zeros(size * size, 4, dtype=torch.int64)  # whole numbers: any order adds up
        rows = torch.cat([given[seen], torch.ones(len(where), 1, dtype=torch.int64)], dim=1)
        total.index_add_(0, where, rows)
        nearest = distance_transform_edt(
            (total[:, 3] == 0).view(size, size).numpy(), return_distances=False, return_indices=True
        )
        place = torch.from_numpy((nearest[0] * size + nearest[1]).astype(np.int64)).flatten()
        mean = (total[place, :3] / total[place, 3:].clamp_min(1) / 255).T.view(3, size, size)
        shade = views.shade[number].cpu()
        lit = (mean * shade / BRIGHTEST).clamp(0, 1)
        pictures.append(torch.where(shade < 1, lit, 1.0))
    return torch.stack(pictures).float()
