"""Multi-Granularity Feature Embedding Module: layers, geometry and class token to the text space.

Source: BTP (CVPR 2026), section "MGFEM". Entry names are those of the released checkpoint.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Part = Literal["layers", "geometric", "cls"]


def _mapper(channels: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, out))


class MGFEM(nn.Module):
    """Patch embeddings Z = φ_f([Σ softmax(α)_l φ_s(H_l) ‖ φ_g(F_geo) ‖ φ_c(cls)]).

    parts: which of the three are there; fewer in ablations.
    """

    def __init__(
        self,
        width: int = 384,
        geometric: int = 33,
        out: int = 1280,
        hidden: int = 512,
        layers: int = 4,
        parts: tuple[Part, ...] = ("layers", "geometric", "cls"),
    ) -> None:
        super().__init__()
        self.parts = parts
        if "layers" in parts:
            self.mapper_pointbert = _mapper(width, hidden, out)
        if "geometric" in parts:
            self.mapper_fpfh = _mapper(geometric, hidden, out)
        if "cls" in parts:
            self.mapper_global = _mapper(width, hidden, out)
        self.fusion_proj = _mapper(len(parts) * out, out, out)
        if "layers" in parts:
            self.layer_weights = nn.Parameter(torch.zeros(layers))

    def hidden(self, layers: Tensor, geometric: Tensor | None, cls: Tensor) -> Tensor:
        """Return what enters φ_f's last linear layer, (B, G, out).

        layers: (B, L, G, width), unit length. geometric: (B, G, geometric). cls: (B, width), unit
        length. What is linear is done where it costs least: the linear layer behind φ_s's ReLU is
        shared, so the layers are averaged before it; φ_f's first layer is cut into its parts, and
        the class token's is computed once per cloud.
        """
        fuse: Any = self.fusion_proj[0]
        weight = dict(zip(self.parts, fuse.weight.chunk(len(self.parts), dim=1), strict=True))
        fused: Tensor = fuse.bias
        if "cls" in weight:
            fused = functional.linear(self.mapper_global(cls), weight["cls"], fused)[:, None]
        if "layers" in weight:
            mixed = self._mixed(layers)
            fused = fused + _chain(mixed, self.mapper_pointbert[2], weight["layers"])
        if "geometric" in weight:
            shape = self.mapper_fpfh[:2](geometric)
            fused = fused + _chain(shape, self.mapper_fpfh[2], weight["geometric"])
        return functional.relu(fused)

    def _mixed(self, layers: Tensor) -> Tensor:
        """Return the layers' mean behind φ_s's ReLU, (B, G, hidden)."""
        batch, _, groups, _ = layers.shape
        first: Any = self.mapper_pointbert[0]
        rows = functional.relu(functional.linear(layers, first.weight, first.bias), inplace=True)
        share = torch.softmax(self.layer_weights, dim=0)
        return torch.matmul(share, rows.flatten(2)).view(batch, groups, rows.shape[-1])

    def forward(self, layers: Tensor, geometric: Tensor | None, cls: Tensor) -> Tensor:
        """Return the patch embeddings, (B, G, out), not normalised. Arguments as in `hidden`."""
        out: Tensor = self.fusion_proj[2](self.hidden(layers, geometric, cls))
        return out

    def similarity(
        self, layers: Tensor, geometric: Tensor | None, cls: Tensor, text: Tensor
    ) -> Tensor:
        """Return the embeddings' inner products with `text` (K, out), (B, G, K).

        Equal to `forward(...) @ text.T`; the last linear layer acts on the K texts instead of on
        all patches.
        """
        last: Any = self.fusion_proj[2]
        weight: Tensor = text @ last.weight
        shift: Tensor = text @ last.bias
        return self.hidden(layers, geometric, cls) @ weight.T + shift


def _chain(rows: Tensor, layer: Any, weight: Tensor) -> Tensor:
    """Return `layer(rows) @ weight.T`; the two matrices are multiplied first if rows are many.

    rows: (B, G, hidden); weight: (out, channels of the layer).
    """
    if rows.shape[0] * rows.shape[1] <= rows.shape[2]:
        return functional.linear(layer(rows), weight)
    return functional.linear(rows, weight @ layer.weight, weight @ layer.bias)
