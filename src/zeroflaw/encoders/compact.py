"""The compact patch transformer: invariant patch descriptors in, one token per patch out.

A PointBERT in miniature that sees no coordinates: points enter as rotation-invariant values,
and attention knows the patches' distances instead of their positions. Turning, moving or scaling
a scan therefore changes nothing but rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.pointbert import Block


class PatchEmbedding(nn.Module):
    """One token per patch from its points: a shared two-layer network, then mean and maximum."""

    def __init__(self, channels: int, hidden: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(channels, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.out = nn.Linear(2 * hidden, width)

    def forward(self, patches: Tensor) -> Tensor:
        """patches: (B, G, M, C). Returns (B, G, width)."""
        hidden = functional.gelu(self.first(patches))
        hidden = self.second(hidden)
        pooled = torch.cat([hidden.amax(dim=2), hidden.mean(dim=2)], dim=-1)
        token: Tensor = self.out(functional.gelu(pooled))
        return token


class DistanceBias(nn.Module):
    """What attention adds for the distance between two patches: per head, a curve over distance."""

    def __init__(self, heads: int, waves: int = 6) -> None:
        super().__init__()
        self.register_buffer("centers", torch.linspace(0.0, 2.0, waves), persistent=False)
        self.width = 2.0 / (waves - 1)
        self.curve = nn.Linear(waves, heads)
        self.token = nn.Parameter(torch.zeros(2, heads))

    def forward(self, centers: Tensor) -> Tensor:
        """centers: (B, G, 3), unit sphere. Returns (B, H, G + 1, G + 1), class token first."""
        exact = "donot_use_mm_for_euclid_dist"
        root = torch.cdist(centers, centers, compute_mode=exact).sqrt()
        near = torch.exp(-(((root[..., None] - self.get_buffer("centers")) / self.width) ** 2))
        bias = self.curve(near).permute(0, 3, 1, 2)
        to_token, from_token = self.token
        batch, heads, groups, _ = bias.shape
        row = to_token[None, :, None, None].expand(batch, heads, 1, groups)
        column = from_token[None, :, None, None].expand(batch, heads, groups, 1)
        corner = to_token.new_zeros(batch, heads, 1, 1)
        below = torch.cat([column, bias], dim=3)
        return torch.cat([torch.cat([corner, row], dim=3), below], dim=2)


class CompactEncoder(nn.Module):
    """Patches to tokens: the outputs of the blocks named in `layers`, and the class token."""

    def __init__(
        self,
        channels: int,
        context: int,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        layers: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.layers = layers
        self.embed = PatchEmbedding(channels, hidden, width)
        self.context = nn.Sequential(
            nn.Linear(context, hidden), nn.GELU(), nn.Linear(hidden, width)
        )
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.bias = DistanceBias(heads)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, patches: Tensor, context: Tensor, centers: Tensor, scan: Tensor
    ) -> tuple[Tensor, Tensor]:
        """patches: (B, G, M, C); context: (B, G, K); centers: (B, G, 3); scan: (B, width).

        Returns the chosen layers' patch tokens (L, B, G, width) and the class token (B, width).
        """
        tokens = self.embed(patches) + self.context(context)
        tokens = torch.cat([self.cls_token + scan[:, None], tokens], dim=1)
        bias = self.bias(centers)
        kept = []
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens, bias)
            if number in self.layers:
                kept.append(tokens[:, 1:])
        cls: Tensor = self.norm(tokens)[:, 0]
        return torch.stack(kept), cls
