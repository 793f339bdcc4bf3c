"""GS-CLIP's own parts: what a cloud adds to the prompts, and how two kinds of views are merged.

Source: Deng et al., "GS-CLIP" (arXiv 2602.19206). Where the authors' code trains nothing that the
paper trains, an argument chooses between what it does and what it means to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.clip import CLIPVisual

LEAST_SCORE = 1e-6
B_DEVIATION = 1e-4  # of LoRA's second matrix: at zero the first one would learn nothing


class ShapeToken(nn.Sequential):
    """Global shape token: the cloud's features, (B, channels), to a word's place, (B, width)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(nn.Linear(channels, width), nn.GELU(), nn.LayerNorm(width))


class DefectDistillation(nn.Module):
    """Geometric Defect Distillation Module: the points least like any normal prototype, one token.

    weighted: the outlier scores weigh what is aggregated, so that the prototypes learn; else the
    token of the first outlier is taken, as in the release, and they never do.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        prototypes: int = 32,
        outliers: int = 12,
        heads: int = 4,
        weighted: bool = True,
    ) -> None:
        super().__init__()
        self.outliers = outliers
        self.weighted = weighted
        self.prototypes = nn.Parameter(torch.randn(prototypes, channels))
        self.project = nn.Linear(channels, width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, width), nn.GELU())

    def outlier_scores(self, points: Tensor) -> Tensor:
        """Return 1 − the highest cosine to a prototype. points: (B, N, channels); (B, N)."""
        unit = functional.normalize(points, dim=-1)
        likeness = unit @ functional.normalize(self.prototypes, dim=-1).T
        score: Tensor = 1 - likeness.amax(dim=-1)
        return score

    def forward(self, points: Tensor) -> Tensor:
        """Return the defect token, (B, width). points: (B, N, channels), at least one."""
        score = self.outlier_scores(points)
        highest = score.topk(min(self.outliers, score.shape[1]), dim=1)
        chosen = highest.indices[..., None].expand(-1, -1, points.shape[-1])
        tokens = self.project(points.gather(1, chosen))
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        tokens = self.norm(tokens + mixed)
        tokens = tokens + self.feed(tokens)
        if not self.weighted:
            first: Tensor = tokens[:, 0]
            return first
        share = highest.values.clamp_min(LEAST_SCORE)
        share = share / share.sum(dim=1, keepdim=True)
        token: Tensor = torch.einsum("bk,bkw->bw", share, tokens)
        return token


class LowRank(nn.Module):
    """What LoRA adds to one frozen linear layer: scale · B A dropout(x)."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        self.lora_A = nn.Parameter(torch.empty(rank, linear.in_features))
        self.lora_B = nn.Parameter(B_DEVIATION * torch.randn(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in). Returns (..., out)."""
        narrow = functional.linear(self.dropout(x), self.lora_A)
        return self.scale * functional.linear(narrow, self.lora_B)


class LoRA(nn.Module):
    """Low-rank updates of every MLP layer of a visual tower, whose own weights stay as they are.

    The tower is no part of this module: the same weights see the shaded views without the updates
    and the depth views with them. Source: Hu et al., "LoRA" (ICLR 2022).
    """

    def __init__(
        self, tower: CLIPVisual, rank: int = 8, scale: float = 2.0, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.updates = nn.ModuleList(
            LowRank(linear, rank, scale, dropout) for linear in mlp_layers(tower)
        )

    @contextmanager
    def applied(self, tower: CLIPVisual) -> Iterator[None]:
        """Add the updates to the tower's layers while entered."""
        hooks = [
            linear.register_forward_hook(_adding(update))
            for linear, update in zip(mlp_layers(tower), self.updates, strict=True)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def mlp_layers(tower: CLIPVisual) -> list[nn.Linear]:
    """Return the linear layers of a tower's MLPs, in the order of the blocks."""
    blocks: Any = tower.transformer["resblocks"]
    return [block.mlp[name] for block in blocks for name in ("c_fc", "c_proj")]


def _adding(update: nn.Module) -> Any:
    def add(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        del module
        added: Tensor = out + update(given[0])
        return added

    return add


class Refinement(nn.Module):
    """Synergistic Refinement Module: features of shaded and of depth views see each other.

    across: a view attends to all views of the other kind, and what it finds is added to it. What is
    merged is at first the mean of both, so that the stage starts where the prompts ended. Else its
    sequence is of length 1, as in the release: the keys never learn, each feature is replaced by
    its counterpart, and merging starts at random.
    """

    def __init__(self, width: int, across: bool = True) -> None:
        super().__init__()
        self.across = across
        self.key_render = nn.Linear(width, width)
        self.key_depth = nn.Linear(width, width)
        self.merge = nn.Linear(2 * width, width)
        if across:
            with torch.no_grad():
                self.merge.weight.copy_(torch.eye(width).repeat(1, 2) / 2)
                self.merge.bias.zero_()

    def forward(self, render: Tensor, depth: Tensor) -> Tensor:
        """Return the fused features, (..., V, D), not normalised. render, depth: (..., V, D)."""
        if not self.across:
            return self._merged(depth, render)
        score = self.key_render(render) @ self.key_depth(depth).transpose(-1, -2)
        seen_depth = torch.softmax(score, dim=-1) @ depth
        seen_render = torch.softmax(score.transpose(-1, -2), dim=-1) @ render
        return self._merged(render + seen_depth, depth + seen_render)

    def patches(self, render: Tensor, depth: Tensor) -> Tensor:
        """Return the fused features of patches; each one sees its counterpart alone.

        render, depth: (..., D). Returns (..., D), not normalised.
        """
        if not self.across:
            return self._merged(depth, render)
        both = render + depth
        return self._merged(both, both)

    def _merged(self, first: Tensor, second: Tensor) -> Tensor:
        merged: Tensor = self.merge(torch.cat([first, second], dim=-1))
        return merged


def consistency_loss(fused: Tensor, over_features: bool = True) -> Tensor:
    """Return 1 − the mean cosine of the views' features to their mean. fused: (B, V, D).

    over_features: False takes the cosine over the axis of the views, as the release does.
    """
    mean = fused.mean(dim=1, keepdim=True).expand_as(fused)
    return 1 - functional.cosine_similarity(fused, mean, dim=2 if over_features else 1).mean()
