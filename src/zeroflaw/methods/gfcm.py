"""Geometric Feature Creation Module: a patch's raw points to a learned local descriptor.

Source: BTP (CVPR 2026), section "GFCM". Entry names are those of the released checkpoint.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.pointbert import pointwise
from zeroflaw.methods.joint_norm import JointBatchNorm

# Patches whose points are compared together on a CPU: they stay in the processor's cache.
PATCHES_AT_ONCE = 64


def _layer(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 1), JointBatchNorm(out))


class GFCM(nn.Module):
    """Three shared layers per point, the maximum over the patch, two linear layers.

    channels: what a point brings (3: its coordinates, not centred). out: 33, FPFH's bins. Since
    the coordinates are not centred, a point is the same in all patches that hold it: the layers
    see it once, and the norms count it as often as it is held.
    """

    def __init__(
        self, channels: int = 3, hidden: tuple[int, int, int] = (64, 128, 256), out: int = 33
    ) -> None:
        super().__init__()
        first, second, third = hidden
        self.mlp1 = _layer(channels, first)
        self.mlp2 = _layer(first, second)
        self.mlp3 = _layer(second, third)
        self.fc = nn.Sequential(nn.Linear(third, third // 2), nn.ReLU(), nn.Linear(third // 2, out))

    def forward(self, points: Tensor, index: Tensor) -> Tensor:
        """points: (B, N, C); index: (B, G, M) int64. Returns (B, G, out)."""
        batch, groups, size = index.shape
        rows = points.flatten(0, 1)
        first = torch.arange(batch, device=index.device)[:, None, None] * points.shape[1]
        patches = (index + first).view(batch * groups, size)
        held = count_rows(patches, len(rows)) if self.training else None
        for layer in (self.mlp1, self.mlp2, self.mlp3):
            rows = self._layer(layer, rows, held)
        out: Tensor = self.fc(patch_maximum(rows, patches))
        return out.view(batch, groups, out.shape[-1])

    def _layer(self, layer: nn.Sequential, rows: Tensor, held: Tensor | None) -> Tensor:
        if held is None:
            return pointwise(layer, rows)
        convolution: Any = layer[0]
        mapped = functional.linear(rows, convolution.weight.flatten(1), convolution.bias)
        return functional.relu(layer[1](mapped, held), inplace=True)


def count_rows(patches: Tensor, count: int) -> Tensor:
    """Return in how many patches each of `count` rows is, (R,) float. patches: (P, M) int64."""
    flat = patches.flatten()
    ones = torch.ones(flat.shape, device=flat.device)
    return torch.zeros(count, device=flat.device).scatter_add_(0, flat, ones)


def patch_maximum(rows: Tensor, patches: Tensor) -> Tensor:
    """Return each patch's maximum over its rows, (P, C). rows: (R, C); patches: (P, M) int64.

    The same as `rows[patches].amax(dim=1)`, without keeping the rows of all patches at once.
    """
    if rows.requires_grad and torch.is_grad_enabled():
        out: Tensor = _PatchMaximum.apply(rows, patches)  # type: ignore[no-untyped-call]
        return out
    largest = rows.index_select(0, patches[:, 0])
    for column in patches[:, 1:].unbind(dim=1):
        torch.maximum(largest, rows.index_select(0, column), out=largest)
    return largest


class _PatchMaximum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, patches: Tensor) -> Tensor:
        at_once = PATCHES_AT_ONCE if rows.device.type == "cpu" else max(len(patches), 1)
        values, chosen = [], []
        for part in torch.split(patches, at_once):
            largest, place = rows[part].max(dim=1)
            values.append(largest)
            chosen.append(part.gather(1, place))
        context.save_for_backward(torch.cat(chosen))
        context.count = len(rows)
        return torch.cat(values)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), (chosen,) = gradients, context.saved_tensors
        zeros = gradient.new_zeros(context.count, gradient.shape[1])
        return zeros.scatter_add_(0, chosen, gradient), None
