"""PointBERT, the point encoder of ULIP-2: patches of points in, one token per patch out.

Source: Yu et al., "Point-BERT" (CVPR 2022); Xue et al., "ULIP-2" (CVPR 2024). Entry names are
those of the published ULIP-2 checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.entries import load_entries, read_entries
from zeroflaw.encoders.sizes import check_blocks, check_sizes
from zeroflaw.geometry.neighbors import knn_batch
from zeroflaw.geometry.sample import farthest_point_sample_batch

# Patches encoded together in evaluation: their intermediate values stay in the processor's cache.
PATCHES_AT_ONCE = 64


@dataclass(frozen=True)
class PointBERTConfig:
    """Sizes of a PointBERT; the defaults are ULIP-2's for coloured clouds of 10,000 points.

    layers: the blocks whose outputs are returned, counted from 1. embedding: channels of the
    patch embedding. projection: width of the text space, None for no projection.
    """

    width: int = 384
    depth: int = 18
    heads: int = 6
    channels: int = 6
    embedding: int = 256
    position_width: int = 128
    layers: tuple[int, ...] = (2, 5, 8, 11)
    projection: int | None = 1280

    def __post_init__(self) -> None:
        check_sizes(self, "width", "heads", "channels", "embedding", "position_width")
        check_blocks(self.width, self.heads, self.depth, self.layers)


@dataclass(frozen=True)
class PointFeatures:
    """What the encoder saw, nothing normalised.

    layers: one (B, 1 + G, width) per asked block, before the final norm, class token first.
    cls: (B, width) and tokens: (B, G, width), after the final norm. embedding: (B, projection)
    in the text space, or None.
    """

    layers: tuple[Tensor, ...]
    cls: Tensor
    tokens: Tensor
    embedding: Tensor | None


class Attention(nn.Module):
    """Multi-head self-attention with one joint matrix for query, key and value."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x: (B, T, C). bias: added to the attention logits, broadcastable to (B, H, T, T)."""
        batch, count, width = x.shape
        qkv = self.qkv(x).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        if bias is not None and bias.requires_grad:
            mixed = _biased(query, key, value, bias)
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, width))
        return out


def _biased(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attention whose bias learns, where torch's own has no fast way back.

    query, key, value: (B, H, T, D); bias: (B, H, T, T). Returns (B, H, T, D).
    """
    batch, heads, count, width = query.shape
    flat = (batch * heads, count, width)
    logits = torch.baddbmm(
        bias.reshape(batch * heads, count, count),
        query.reshape(flat),
        key.reshape(flat).transpose(1, 2),
        alpha=width**-0.5,
    )
    return torch.bmm(torch.softmax(logits, dim=-1), value.reshape(flat)).view(query.shape)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., C). Returns the same shape."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, width: int, heads: int, ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, int(width * ratio))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x: (B, T, C). bias: added to the attention logits. Returns (B, T, C)."""
        x = x + self.attn(self.norm1(x), bias)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Blocks(nn.Module):
    """The stack of blocks; the position is added before every one of them."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))

    def forward(self, x: Tensor, position: Tensor) -> list[Tensor]:
        """Return every block's output, in order."""
        outputs = []
        for block in self.blocks:
            x = block(x + position)
            outputs.append(x)
        return outputs


def pointwise(layers: nn.Sequential, rows: Tensor) -> Tensor:
    """Return ReLU(norm(convolution(rows))) of a 1×1 convolution and the batch norm behind it.

    layers: starts with the two. rows: (R, C_in). In evaluation the norm is folded into the
    weights, so the rows are touched once. Returns (R, C_out).
    """
    norm: Any = layers[1]
    if norm.training:
        return functional.relu(norm(_linear(layers[0], rows)), inplace=True)
    return functional.relu(functional.linear(rows, *folded(layers)), inplace=True)


def folded(layers: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Return the weight (C_out, C_in) and bias (C_out,) that equal convolution and batch norm."""
    layer: Any = layers[0]
    norm: Any = layers[1]
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    return layer.weight.flatten(1) * scale[:, None], layer.bias * scale + shift


def _linear(layer: Any, rows: Tensor) -> Tensor:
    """Apply a 1×1 convolution to rows of points."""
    return functional.linear(rows, layer.weight.flatten(1), layer.bias)


class PatchEncoder(nn.Module):
    """A small PointNet: the points of one patch to one vector."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        half, double = out // 2, 2 * out
        self.first_conv = nn.Sequential(
            nn.Conv1d(channels, half, 1), nn.BatchNorm1d(half), nn.ReLU(), nn.Conv1d(half, out, 1)
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(double, double, 1),
            nn.BatchNorm1d(double),
            nn.ReLU(),
            nn.Conv1d(double, out, 1),
        )

    def forward(self, patches: Tensor) -> Tensor:
        """patches: (B, G, M, C). Returns (B, G, out)."""
        flat = patches.flatten(0, 1)
        at_once = len(flat) if self.training else PATCHES_AT_ONCE
        parts = [self._encode(part) for part in torch.split(flat, at_once)]
        return torch.cat(parts).view(*patches.shape[:2], -1)

    def _encode(self, patches: Tensor) -> Tensor:
        """patches: (P, M, C). Returns (P, out)."""
        count, size, channels = patches.shape
        hidden = pointwise(self.first_conv, patches.reshape(-1, channels))
        local = _linear(self.first_conv[3], hidden).view(count, size, -1)
        mixed = self._mix(local.amax(dim=1), local)
        return _linear(self.second_conv[3], mixed).view(count, size, -1).amax(dim=1)

    def _mix(self, whole: Tensor, local: Tensor) -> Tensor:
        """Apply the second convolution to [whole ‖ local], to `whole` once per patch.

        whole: (P, C), local: (P, M, C). Returns (P·M, 2C).
        """
        count, size, width = local.shape
        if self.training:
            rows = torch.cat([whole[:, None].expand_as(local), local], dim=-1)
            return pointwise(self.second_conv, rows.view(-1, 2 * width))
        weight, bias = folded(self.second_conv)
        once = functional.linear(whole, weight[:, :width], bias)
        each = functional.linear(local.view(-1, width), weight[:, width:])
        each.view(count, size, -1).add_(once[:, None])
        return functional.relu(each, inplace=True)


def group_patches(
    points: Tensor, groups: int, size: int, sampled: bool = False
) -> tuple[Tensor, Tensor]:
    """Choose patch centres by farthest point sampling and take each one's nearest points.

    points: (B, N, 3). sampled: the points come in the order of farthest point sampling, so that
    the first are the centres. Returns center (B, G, 3) and index (B, G, M) int64 into the N points.
    """
    if sampled:
        center = points[:, :groups]
    else:
        chosen = farthest_point_sample_batch(points, groups)
        center = points.gather(1, chosen[..., None].expand(-1, -1, 3))
    _, index = knn_batch(points, center, size)
    return center, index


def gather_patches(points: Tensor, index: Tensor) -> Tensor:
    """points: (B, N, C); index: (B, G, M). Returns (B, G, M, C)."""
    batch, groups, size = index.shape
    flat = index.reshape(batch, groups * size, 1).expand(-1, -1, points.shape[-1])
    return points.gather(1, flat).view(batch, groups, size, points.shape[-1])


class PointBERT(nn.Module):
    """Frozen or trained point encoder; the constructor draws random weights."""

    def __init__(self, config: PointBERTConfig | None = None) -> None:
        super().__init__()
        config = PointBERTConfig() if config is None else config
        self.config = config
        width = config.width
        self.encoder = PatchEncoder(config.channels, config.embedding)
        self.reduce_dim = nn.Linear(config.embedding, width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.cls_pos = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Sequential(
            nn.Linear(3, config.position_width), nn.GELU(), nn.Linear(config.position_width, width)
        )
        self.blocks = Blocks(width, config.depth, config.heads)
        self.norm = nn.LayerNorm(width)
        self.pc_projection: nn.Parameter | None = None
        if config.projection is not None:
            scale = width**-0.5
            self.pc_projection = nn.Parameter(torch.randn(2 * width, config.projection) * scale)

    def forward(self, points: Tensor, center: Tensor, index: Tensor) -> PointFeatures:
        """Encode grouped points.

        points: (B, N, channels), xyz first, in the unit sphere. center: (B, G, 3). index:
        (B, G, M) int64 into the N points.
        """
        patches = gather_patches(points, index)
        offset = functional.pad(center, (0, points.shape[-1] - 3))
        tokens = self.reduce_dim(self.encoder(patches - offset[:, :, None]))
        batch = len(points)
        x = torch.cat([self.cls_token.expand(batch, -1, -1), tokens], dim=1)
        position = torch.cat([self.cls_pos.expand(batch, -1, -1), self.pos_embed(center)], dim=1)
        outputs = self.blocks(x, position)
        final = self.norm(outputs[-1])
        cls, tokens = final[:, 0], final[:, 1:]
        embedding = None
        if self.pc_projection is not None:
            embedding = torch.cat([cls, tokens.amax(dim=1)], dim=-1) @ self.pc_projection
        layers = tuple(outputs[number - 1] for number in self.config.layers)
        return PointFeatures(layers, cls, tokens, embedding)


def load_pointbert(path: Path, config: PointBERTConfig | None = None) -> PointBERT:
    """Return ULIP-2's frozen point encoder from its published file.

    path: a torch file with `state_dict`, or safetensors; names `point_encoder.*` and
    `pc_projection`, with or without `module.` in front. The image and text towers and the
    temperature that ULIP-2 trains with are not read. Raises ZeroflawError that names every
    entry that is missing or unexpected.
    """
    found = read_entries(path)
    passed = ("open_clip_model.", "logit_scale")
    kept = {name: tensor for name, tensor in found.items() if not name.startswith(passed)}
    encoder = PointBERT(config)
    names = {published_name(name): name for name in encoder.state_dict()}
    entries = {names.get(name, name): tensor for name, tensor in kept.items()}
    load_entries(
        encoder, entries, path, lambda name: name if name in kept else published_name(name)
    )
    return encoder.eval().requires_grad_(False)


def published_name(name: str) -> str:
    """Return what ULIP-2's file calls an entry of PointBERT."""
    return name if name == "pc_projection" else f"point_encoder.{name}"
