"""Multi-Granularity Feature Embedding Module: layers, geometry and class token to the text space.

Source: BTP (CVPR 2026), section "MGFEM". Entry names are those of the released checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def hidden(self, layers: Sequence[Tensor], geometric: Tensor | None, cls: Tensor) -> Tensor:
        """Return what enters φ_f's last linear layer, (B, G, out).

        layers: L tensors (B, G, width), unit length. geometric: (B, G, geometric). cls:
        (B, width), unit length. The linear layer behind φ_s's ReLU is shared, so the layers are
        averaged before it; the class token's part is computed once per cloud.
        """
        fuse: Any = self.fusion_proj[0]
        weight = dict(
            zip(
                self.parts,
                fuse.weight.view(len(fuse.bias), len(self.parts), -1).unbind(1),
                strict=True,
            )
        )
        fused: Tensor = fuse.bias
        if "cls" in weight:
            fused = functional.linear(self.mapper_global(cls), weight["cls"], fused)[:, None]
        if "layers" in weight:
            share = torch.softmax(self.layer_weights, dim=0)
            first, last = self.mapper_pointbert[0], self.mapper_pointbert[2]
            rows = torch.stack([functional.relu(first(layer)) for layer in layers], dim=-1)
            fused = fused + functional.linear(last(rows @ share), weight["layers"])
        if "geometric" in weight:
            fused = fused + functional.linear(self.mapper_fpfh(geometric), weight["geometric"])
        return functional.relu(fused)

    def forward(self, layers: Sequence[Tensor], geometric: Tensor | None, cls: Tensor) -> Tensor:
        """Return the patch embeddings, (B, G, out), not normalised. Arguments as in `hidden`."""
        out: Tensor = self.fusion_proj[2](self.hidden(layers, geometric, cls))
        return out

    def similarity(
        self, layers: Sequence[Tensor], geometric: Tensor | None, cls: Tensor, text: Tensor
    ) -> Tensor:
        """Return the embeddings' inner products with `text` (K, out), (B, G, K).

        Equal to `forward(...) @ text.T`; the last linear layer acts on the K texts instead of on
        all patches.
        """
        last: Any = self.fusion_proj[2]
        weight: Tensor = text @ last.weight
        shift: Tensor = text @ last.bias
        return self.hidden(layers, geometric, cls) @ weight.T + shift
