"""Batch normalisation whose statistics are those of the joint batch, rows counted as often as told.

Torch's own synchronised norm runs on GPUs only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zeroflaw.methods.joint import gather, processes


class JointBatchNorm(nn.BatchNorm1d):
    """BatchNorm1d over the rows, (R, C), of all processes together; its entries are the same."""

    def forward(self, input: Tensor, count: Tensor | None = None) -> Tensor:
        """Normalise rows, (R, C).

        count: (R,), how often each row counts in mean and variance; once if not given. In training
        these are of all processes' rows, in evaluation the stored ones.
        """
        if not self.training or (count is None and processes() == 1):
            return super().forward(input)
        weight = input.new_ones(len(input)) if count is None else count.to(input.dtype)
        mean, variance, total = joint_statistics(input, weight)
        self._remember(mean.detach(), variance.detach() * total / (total - 1).clamp_min(1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return torch.addcmul(self.bias - mean * scale, input, scale)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the stored statistics towards these, as BatchNorm1d does."""
        batches = self.get_buffer("num_batches_tracked").add_(1)
        share = 1 / float(batches) if self.momentum is None else self.momentum
        self.get_buffer("running_mean").lerp_(mean, share)
        self.get_buffer("running_var").lerp_(variance, share)


def joint_statistics(rows: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean (C,), biased variance (C,) and the number of rows over all processes.

    rows: (R, C), R may be 0; count: (R,), how often each one counts. Every process sums around its
    own mean, so that nothing cancels. Gradients flow to the rows of all processes.
    """
    number = count.sum()
    mean = count @ rows / number.clamp_min(1)
    spread = count @ (rows - mean).square()
    if processes() == 1:
        return mean, spread / number.clamp_min(1), number
    everyone = gather(torch.cat([mean, spread, number[None]]))
    means, spreads, numbers = torch.split(everyone, [len(mean), len(mean), 1], dim=1)
    total = numbers.sum()
    mean = (numbers * means).sum(dim=0) / total
    spread = (spreads + numbers * (means - mean).square()).sum(dim=0)
    return mean, spread / total, total
