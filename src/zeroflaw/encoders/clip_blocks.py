"""The transformer block of both of CLIP's towers, with its parts open to the v–v path.

Source: Radford et al., "Learning transferable visual models from natural language" (2021). Entry
names are those of the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MultiheadAttention(nn.Module):
    """Self-attention with one joint matrix for query, key and value.

    causal: a token sees itself and the tokens before it.
    """

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, C). Returns the same shape."""
        query, key, value = self.project(x)
        return self.mix(query, key, value)

    def project(self, x: Tensor, first: int = 0, count: int = 3) -> tuple[Tensor, ...]:
        """Return query, key and value of x, or `count` of them from the one numbered `first` on.

        x: (B, T, C). Each is (B, H, T, C / H).
        """
        batch, length, width = x.shape
        rows = slice(first * width, (first + count) * width)
        joint = functional.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        parts = joint.view(batch, length, count, self.heads, width // self.heads)
        return tuple(parts.permute(2, 0, 3, 1, 4).unbind())

    def mix(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return softmax(q kᵀ / √d) v through the output matrix, (B, T of the query, C)."""
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class ResidualBlock(nn.Module):
    """One pre-norm block. activation: "gelu" (OpenCLIP) or "quick_gelu" (OpenAI's weights)."""

    def __init__(self, width: int, heads: int, activation: str, causal: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = MultiheadAttention(width, heads, causal)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        )
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, C). Returns the same shape."""
        return self.feed_forward(x + self.attn(self.ln_1(x)))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return x with the block's second half added; every token is on its own there."""
        hidden = self.mlp["c_fc"](self.ln_2(x))
        hidden = functional.gelu(hidden) if self.activation == "gelu" else quick_gelu(hidden)
        out: Tensor = x + self.mlp["c_proj"](hidden)
        return out


def quick_gelu(x: Tensor) -> Tensor:
    """Return x · sigmoid(1.702 x), OpenAI's activation; one new tensor where nothing learns."""
    gate = 1.702 * x
    if torch.is_grad_enabled():
        return x * torch.sigmoid(gate)
    return gate.sigmoid_().mul_(x)
