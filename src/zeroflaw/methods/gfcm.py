"""Geometric Feature Creation Module: a patch's raw points to a learned local descriptor.

Source: BTP (CVPR 2026), section "GFCM". Entry names are those of the released checkpoint.
"""

from __future__ import annotations

from torch import Tensor, nn

from zeroflaw.encoders.pointbert import gather_patches, pointwise


def _layer(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 1), nn.BatchNorm1d(out))


class GFCM(nn.Module):
    """Three shared layers per point, the maximum over the patch, two linear layers.

    channels: what a point brings (3: its coordinates, not centred). out: 33, FPFH's bins.
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
        rows = gather_patches(points, index).reshape(-1, points.shape[-1])
        for layer in (self.mlp1, self.mlp2, self.mlp3):
            rows = pointwise(layer, rows)
        out: Tensor = self.fc(rows.view(batch, groups, size, -1).amax(dim=2))
        return out
